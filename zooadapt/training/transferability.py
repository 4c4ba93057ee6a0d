"""What features tell, before anything is trained, of whether training will pay, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, Part
from zooadapt.backbone.rows import Rows, chosen, in_memory
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.heads import fitting
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.task import Task
from zooadapt.training import weight_averaging
from zooadapt.training.weight_averaging import State

OF_STAGES = 1024
"""Samples whose features of all stages are compared with the last ones."""
COMPARED = 4096
"""Samples on which the source is compared with its network untrained. The more there are, the less
a source is worth."""


@dataclass(frozen=True, kw_only=True)
class SourceLosses:
    """Leave-one-out losses `(n,)` of heads on the features of a source and of the same network with
    random weights."""

    source: Tensor
    untrained: Tensor
    entropy: float
    """Of the labels: the loss without any features."""

    @property
    def fact(self) -> str:
        return (
            f"leave-one-out loss {float(self.source.mean()):.3f} with the source's features, "
            f"{float(self.untrained.mean()):.3f} with those of the same network untrained, "
            f"{self.entropy:.3f} with none"
        )


class Transferability:
    """Measures it on some of the training samples."""

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        last: Rows,
        labels: Tensor,
        groups: np.ndarray | None,
        task: Task,
        *,
        batch_size: int,
        progress: Progress,
    ) -> None:
        """last: the features of all samples; labels: of n samples; groups: `(n,)`, equal for
        samples that are left out together."""
        self._backbone, self._engine, self._last = backbone, engine, last
        self._labels, self._groups, self._task = labels, groups, task
        self._batch_size, self._progress = batch_size, progress

    def of_stages(self, stages: Loader) -> tuple[Tensor, Tensor]:
        """`stage_losses` of at most `OF_STAGES` samples. stages: means of every stage's channels,
        by name."""
        some, labels, groups = self._some(OF_STAGES)
        rows, parts = chosen(self._last, some), next(iter(stages.batches([some])))
        return stage_losses(rows, parts, labels, self._task, groups)

    def of_source(self, untrained: State, inputs: Loader) -> SourceLosses:
        """`source_losses` of at most `COMPARED` samples. untrained: the state with random weights,
        which the network has only meanwhile; inputs: loads samples, not activations."""
        net = self._backbone.net
        some, labels, groups = self._some(COMPARED)
        source = weight_averaging.copy(net)
        net.load_state_dict(untrained)
        random = self._engine.features(
            self._backbone,
            Part(inputs, some),
            batch_size=self._batch_size,
            progress=self._progress,
            what="features of the untrained network",
        )
        net.load_state_dict(source)
        return source_losses(chosen(self._last, some), random, labels, self._task, groups)

    def _some(self, most: int) -> tuple[np.ndarray, Tensor, np.ndarray | None]:
        """Positions of at most so many samples, evenly spread, their labels and groups."""
        n = len(self._labels)
        some = np.linspace(0, n - 1, min(n, most)).astype(int)
        return some, self._labels[some], None if self._groups is None else self._groups[some]


def stage_losses(
    last: Tensor,
    stages: Mapping[str, Tensor],
    labels: Tensor,
    task: Task,
    groups: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Leave-one-out losses `(n,)` of a ridge head on the last features, and of one on the features
    of all stages, each scaled to the same total variance. (Head2Toe, Evci et al. 2022, arXiv
    2201.03529, keeps the latter head; no other tool would load it.)

    last: `(n, D)`; stages: `(n, C)` by name; labels: of n samples;
    groups: `(n,)`, equal for samples that are left out together.
    """
    scaled = []
    for rows in stages.values():
        centred = rows - rows.mean(0)
        scaled.append(centred / centred.square().sum(1).mean().sqrt().clamp_min(1e-12))
    return (
        _held_out_losses(last, labels, task, groups),
        _held_out_losses(torch.cat(scaled, 1), labels, task, groups),
    )


def source_losses(
    source: Tensor,
    untrained: Tensor,
    labels: Tensor,
    task: Task,
    groups: np.ndarray | None = None,
) -> SourceLosses:
    """How well ridge heads predict the labels by `(n, D)` features of the source, and by those
    of its network with random weights; the arguments as in `stage_losses`. An untrained network
    whose features are not finite, as a deep one without norms may give, tells nothing."""
    entropy = task.ignorance(labels)
    known, random = (
        _held_out_losses(rows, labels, task, groups)
        if rows.isfinite().all()
        else torch.full((len(labels),), entropy)
        for rows in (source, untrained)
    )
    return SourceLosses(source=known, untrained=random, entropy=entropy)


def _held_out_losses(rows: Tensor, labels: Tensor, task: Task, groups: np.ndarray | None) -> Tensor:
    fit = fitting.fit_head(in_memory(rows), labels, task, groups=groups)
    return task.losses(fit.held_out_logits, labels)
