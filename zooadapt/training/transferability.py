"""What features tell, before anything is trained, of whether training will pay, and from where."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, Part
from zooadapt.backbone.rows import Rows, chosen
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.heads import fitting, selection
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.training import policy, weight_averaging
from zooadapt.training.weight_averaging import State

LOOKED_AT = 1024
"""Samples whose features of all stages are compared with the last ones."""
COMPARED = 4096
"""Samples on which the source is compared with its network untrained. The more there are, the less
a source is worth."""
TAUGHT = 0.75
"""Share of what the source's features tell of the classes from which on those of the same network
untrained count as nearly as good."""
CERTAIN = 2.0
"""Standard errors by which they have to be better where labels are few. One was wrong in two of 18
runs on texts with ten labels a class, by 6 and 12 points of accuracy."""


class Transferability:
    """What some of the training samples tell."""

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        last: Rows,
        labels: Tensor,
        groups: np.ndarray | None,
        *,
        batch_size: int,
        progress: Progress,
    ) -> None:
        """last: the features of all samples; labels: `(n,)`; groups: `(n,)`, equal for samples that
        are left out together."""
        self._backbone, self._engine, self._last = backbone, engine, last
        self._labels, self._groups = labels, groups
        self._batch_size, self._progress = batch_size, progress

    def of_stages(self, stages: Loader) -> tuple[bool, str]:
        """`room`. stages: means of every stage's channels, by name."""
        some, labels, groups = self._some(LOOKED_AT)
        rows, parts = chosen(self._last, some), next(stages.batches([some]))
        classes = len(self._backbone.head.weight)
        return distributed.broadcast(lambda: room(rows, parts, labels, classes, groups))

    def of_source(self, untrained: State, inputs: Loader) -> tuple[bool, bool, str]:
        """`teaches_nothing`. untrained: the state with random weights, of which nothing stays in
        the chain; inputs: at cut 0."""
        backbone = self._backbone
        some, labels, groups = self._some(COMPARED)
        source = weight_averaging.copy(backbone.net)
        backbone.net.load_state_dict(untrained)
        random = self._engine.features(
            backbone,
            Part(inputs, some),
            batch_size=self._batch_size,
            progress=self._progress,
            what="features of the untrained network",
        )
        backbone.net.load_state_dict(source)
        rows, classes = chosen(self._last, some), len(backbone.head.weight)
        return distributed.broadcast(lambda: teaches_nothing(rows, random, labels, classes, groups))

    def _some(self, most: int) -> tuple[np.ndarray, Tensor, np.ndarray | None]:
        """Positions of at most so many samples, evenly spread, their labels and groups."""
        n = len(self._labels)
        some = np.linspace(0, n - 1, min(n, most)).astype(int)
        return some, self._labels[some], None if self._groups is None else self._groups[some]


def room(
    last: Tensor,
    stages: Mapping[str, Tensor],
    labels: Tensor,
    num_classes: int,
    groups: np.ndarray | None = None,
) -> tuple[bool, str]:
    """Whether features of all stages tell classes apart better than the last ones, by more than
    chance, and the fact. What the network knows and its last stage lost, training can bring back;
    the features themselves are of no use to a head that other tools load (Head2Toe, Evci et al.
    2022, arXiv 2201.03529, puts a head on them).

    last: `(n, D)`; stages: `(n, C)` by name; labels: `(n,)`; groups: `(n,)`, equal for samples that
    are left out together. Compared on the leave-one-out losses
    of ridge heads, each stage scaled to the same total variance.
    """
    scaled = []
    for rows in stages.values():
        centred = rows - rows.mean(0)
        scaled.append(centred / centred.square().sum(1).mean().sqrt().clamp_min(1e-12))
    losses = []
    for rows in (last, torch.cat(scaled, 1)):
        fit = fitting.fit_head(lambda rows=rows: iter([rows]), labels, num_classes, groups=groups)
        losses.append(nn.functional.cross_entropy(fit.held_out_logits, labels, reduction="none"))
    better, gain, noise = selection.simplest(losses)
    fact = (
        f"leave-one-out loss {float(losses[1].mean()):.3f} with features of all stages, "
        f"{float(losses[0].mean()):.3f} with the last ones: {gain:.3f} less, "
        f"its standard error {noise:.3f}"
    )
    return bool(better), fact


def teaches_nothing(
    source: Tensor,
    untrained: Tensor,
    labels: Tensor,
    num_classes: int,
    groups: np.ndarray | None = None,
) -> tuple[bool, bool, str]:
    """Whether the source teaches next to nothing of these classes: features of its network with
    random weights tell them apart nearly as well. Its weights are then a worse start than none, or
    no better, as was measured on texts. Then, whether the features of the untrained network are
    significantly better as they are, which they have to be where samples are too few for a network
    to learn features of its own; and the fact.

    source and untrained: `(n, D)`; labels and groups: as in `room`. Compared by how far the
    leave-one-out losses of ridge heads fall below the entropy of the classes. An untrained network
    whose features are not finite, as a deep one without norms may give, tells nothing.
    """
    shares = torch.bincount(labels, minlength=num_classes).double() / len(labels)
    entropy = float(torch.special.entr(shares).sum())
    losses = []
    for rows in (source, untrained):
        if not rows.isfinite().all():
            losses.append(torch.full((len(labels),), entropy))
            continue
        fit = fitting.fit_head(lambda rows=rows: iter([rows]), labels, num_classes, groups=groups)
        losses.append(nn.functional.cross_entropy(fit.held_out_logits, labels, reduction="none"))
    means = [float(each.mean()) for each in losses]
    fact = (
        f"leave-one-out loss {means[0]:.3f} with the source's features, {means[1]:.3f} with "
        f"those of the same network untrained, {entropy:.3f} with none"
    )
    _, gain, noise = selection.simplest(losses)
    better, fact = gain > CERTAIN * noise, f"{fact}; standard error of the difference {noise:.3f}"
    if len(labels) < policy.LEARNABLE:
        return better, better, fact
    taught, random = (max(0.0, entropy - mean) for mean in means)
    return random >= TAUGHT * taught, better, fact
