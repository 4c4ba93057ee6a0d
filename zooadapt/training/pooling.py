"""Which way to pool the network's last states into features suits the classes best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.rows import in_memory
from zooadapt.backbone.staged import prefix_sha256
from zooadapt.data import Split
from zooadapt.family import Activations
from zooadapt.heads import fitting
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.measurements import remember
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.task import Task
from zooadapt.zoo.sources import Source

COMPARED = 512
"""Samples on which the ways to pool are compared, at most."""
_ROOM = 256 << 20
"""Bytes that their states may take."""

Build = Callable[[Source], Model]


def choose(
    model: Model, engine: Engine, train: Split, build: Build, *, batch_size: int, progress: Progress
) -> tuple[Model, tuple[Choice, ...]]:
    """The model that pools best by the leave-one-out loss of a ridge head on some training samples,
    and the choice, where the family offers several ways; else the model as it is. A group is left
    out as a whole.

    The stages before the last one run once for all of them, and one network is built at a time. The
    choice is remembered on this machine, so that a repeated run is the same run.
    """
    source, task = model.source, model.task
    candidates = source.family.poolings(source.config)
    if not candidates:
        return model, ()
    if len(candidates) == 1:
        (name,) = candidates
        return model, (Choice(what="pooling", value=name, why="the source declares it"),)
    inputs = Inputs(
        train,
        model.preprocessor,
        view=model.view,
        variable_length=source.family.can.variable_length,
    )
    some = _some(inputs, width=model.backbone.head.weight.shape[1])
    groups = None if train.groups is None else train.groups[some]
    facts = {
        "network": prefix_sha256(model.backbone, model.backbone.depth - 1),
        "candidates": sorted(candidates),
        "samples": [train.digest(int(k)) for k in some],
        "labels": train.labels[some].tolist(),
        "groups": None if groups is None else groups.tolist(),
        "preprocessing": model.preprocessor.config(),
        "precision": engine.precision,
    }

    def measured() -> dict[str, Any]:
        states = _states(model, engine, inputs, some, batch_size=batch_size, progress=progress)
        labels = torch.from_numpy(train.labels)[some]
        return {
            name: _loss(build(replace(source, config=config)), engine, states, task, labels, groups)
            for name, config in candidates.items()
        }

    losses = remember("pooling", facts, measured)
    best = min(candidates, key=losses.__getitem__)
    ranked = ", ".join(
        f"{loss:.3f} {name}" for loss, name in sorted((v, k) for k, v in losses.items())
    )
    why = f"leave-one-out loss on {len(some)} samples: {ranked}"
    if candidates[best] != source.config:
        model = build(replace(source, config=candidates[best]))
        engine.place(model.backbone)
    return model, (Choice(what="pooling", value=best, why=why),)


def _some(inputs: Inputs, *, width: int) -> np.ndarray:
    """Evenly drawn samples whose states fit into the room for them."""
    count = min(COMPARED, len(inputs))
    lengths = inputs.lengths()
    if lengths is not None:
        count = min(count, max(1, int(_ROOM / (4 * width * lengths.mean()))))
    return np.linspace(0, len(inputs) - 1, count).astype(int)


def _states(
    model: Model,
    engine: Engine,
    inputs: Inputs,
    some: np.ndarray,
    *,
    batch_size: int,
    progress: Progress,
) -> list[tuple[np.ndarray, Activations]]:
    """Positions among `some`, and the activations before the last stage."""
    places = {index: k for k, index in enumerate(some.tolist())}
    last = model.backbone.depth - 1
    return [
        (np.array([places[index] for index in indices.tolist()]), store[last])
        for indices, store in engine.activations(
            model.backbone,
            inputs,
            stops=[last],
            batch_size=batch_size,
            progress=progress,
            what="comparing ways to pool",
            only=some,
        )
    ]


@torch.inference_mode()
def _loss(
    model: Model,
    engine: Engine,
    states: list[tuple[np.ndarray, Activations]],
    task: Task,
    labels: Tensor,
    groups: np.ndarray | None,
) -> float:
    backbone = engine.place(model.backbone)
    backbone.eval()
    rows = torch.zeros(len(labels), backbone.head.weight.shape[1])
    with engine.autocast():
        for places, activations in states:
            features = backbone.run(engine.to_device(activations), start=backbone.depth - 1)[
                "features"
            ]
            rows[places] = features.float().cpu()
    fit = fitting.fit_head(in_memory(rows), labels, task, groups=groups)
    return float(task.losses(fit.held_out_logits, labels).mean())
