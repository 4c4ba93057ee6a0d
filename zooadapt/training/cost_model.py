"""What a network costs on this machine, measured on one real batch: what plans are made from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs, steps
from zooadapt.backbone.norm_folding import fold
from zooadapt.backbone.precision import machine
from zooadapt.backbone.staged import StagedBackbone, prefix_sha256
from zooadapt.family import Activations, Stage
from zooadapt.runtime.measurements import remember

T = TypeVar("T")
_ROUNDS = 2
_HOLES, _MORE_HOLES = 1.1, 1.25
"""Memory after a training, which leaves holes in the heap, as a multiple of that after one step:
1.08 to 1.21 were measured on four sets of images; after batches of many lengths, as a multiple of
that after one step on the longest, 1.2 to 1.4 on three sets of texts. Bytes on a GPU are counted
without holes."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Samples to train on, to validate on, to test on, and those of one step."""

    train: int
    val: int
    test: int
    batch: int

    @property
    def everything(self) -> int:
        """Samples that go through the network at least once."""
        return self.train + self.val + self.test

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return steps(self.train, self.batch)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds and bytes of one sample, and the memory of the process with a whole step in it."""

    decode: float
    """Seconds to read, decode and preprocess it for the first time."""
    prepare: float
    """Seconds to preprocess it again."""
    inference: float
    """Seconds through all stages, folded, without gradients."""
    fold: float
    """Seconds to fold a network of new weights, before a pass without gradients, whatever the
    samples."""
    forward: tuple[float, ...]
    """Seconds through each stage while it is trained."""
    backward: float
    """Seconds of the backward pass through a stage for each second of its forward pass."""
    step: float
    """Seconds of the optimiser for one step, whatever the batch."""
    sample_bytes: int
    """Bytes of it decoded, which runs that visit it again keep."""
    activation_bytes: tuple[int, ...]
    """Bytes of what each stage gives."""
    peak_bytes: int
    """Memory of this process after a training step of one batch from the first stage on."""

    def through(self, start: int, stop: int | None = None) -> float:
        """Seconds through stages without gradients."""
        return self.inference * sum(self.forward[start:stop]) / sum(self.forward)

    def epoch(self, freeze_at: int, sizes: Sizes) -> float:
        """Seconds of an epoch from a freeze point, its validation included; above the input, the
        activations come from the cache."""
        fresh = self.prepare if freeze_at == 0 else 0.0
        validation = self.fold + sizes.val * (fresh + self.through(freeze_at))
        return self._steps(freeze_at, sizes.train, sizes.batch) + validation

    def refit(self, freeze_at: int, epochs: int, sizes: Sizes) -> float:
        """Seconds of so many epochs from a freeze point over all labelled samples."""
        return epochs * self._steps(freeze_at, sizes.train + sizes.val, sizes.batch)

    def _steps(self, freeze_at: int, samples: int, batch: int) -> float:
        fresh = self.prepare if freeze_at == 0 else 0.0
        each = fresh + sum(self.forward[freeze_at:]) * (1 + self.backward)
        return samples * each + steps(samples, batch) * self.step

    def passes(self, samples: int) -> float:
        """Seconds of one pass from the files to the features."""
        return samples * (self.decode + self.inference)


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage measured: its trainable size and what it costs to run and to store."""

    name: str
    parameters: int
    seconds: float
    """Forward seconds for one sample."""
    activation_bytes: int
    """Bytes of what it gives, for one sample."""


@torch.no_grad()
def of_stages(
    backbone: StagedBackbone, activations: Activations, *, repeats: int = 3
) -> list[StageCost]:
    """Cost of each stage on this machine: the median of `repeats` forward passes."""
    backbone.eval()
    n = next(iter(activations.values())).shape[0]
    sizes = [0] * (backbone.depth + 1)
    for name, parameter in backbone.net.named_parameters():
        sizes[backbone.stage_of(name)] += parameter.numel()
    costs = []
    for k, stage in enumerate(backbone.stages):
        seconds = []
        for _ in range(repeats + 1):
            spent, after = _timed(partial(_run, stage, activations))
            seconds.append(spent)
        costs.append(
            StageCost(
                name=stage.name,
                parameters=sizes[k],
                seconds=sorted(seconds[1:])[repeats // 2] / n,
                activation_bytes=sum(t.numel() * t.element_size() for t in after.values()) // n,
            )
        )
        activations = after
    return costs


def measure(
    backbone: StagedBackbone,
    engine: Engine,
    inputs: Inputs,
    *,
    lengths: np.ndarray | None,
    batch_size: int,
) -> Costs:
    """Costs of a backbone that is in place, on a usual batch of `inputs`, of which nothing was read
    yet. lengths: `(n,)` of the samples, where they differ.

    One training step is really made, at a rate of 0, so nothing of the network changes. Measured
    once on a machine, then remembered: what reading costs for these samples, all else for the
    network and the shape of its batches, whatever they hold.
    """
    count = min(batch_size, len(inputs))
    chosen, longest = _chosen(lengths, len(inputs), count)
    decode, activations = _timed(lambda: next(inputs.batches([chosen])))
    device = machine(engine.device)
    shapes = {name: [str(t.dtype), *t.shape] for name, t in activations.items()}

    def reading() -> dict[str, float]:
        prepare, _ = _timed(lambda: next(inputs.batches([chosen])))
        size = inputs.decoded_bytes // count
        return {"decode": decode / count, "prepare": prepare / count, "sample_bytes": size}

    def running() -> dict[str, Any]:
        most, holes = activations, _HOLES
        if longest is not None:
            most, holes = next(inputs.batches([longest])), _MORE_HOLES
        if engine.device.type == "cuda":
            holes = 1.0
        once = _measure(
            backbone, engine, engine.to_device(activations), engine.to_device(most), count
        )
        return asdict(replace(once, peak_bytes=round(holes * once.peak_bytes)))

    samples = {"samples": [inputs.split.digest(int(k)) for k in chosen], "inputs": shapes}
    network = {
        "network": prefix_sha256(backbone, backbone.depth),
        "measured": [field.name for field in fields(Costs)],
        "longest": None if longest is None or lengths is None else int(lengths[longest].max()),
        "classes": backbone.head.weight.shape[0],
        "inputs": shapes,
        "precision": engine.precision,
        "channels_last": engine.channels_last,
    }
    # Read first: what the process holds once samples are decoded counts as memory of a step.
    first = remember("reading", samples | device, reading)
    costs = remember("costs", network | device, running) | first
    return Costs(
        **costs
        | {name: tuple(costs[name]) for name in ("forward", "activation_bytes")}  # lists in JSON
    )


def _chosen(
    lengths: np.ndarray | None, total: int, count: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A usual batch: drawn evenly, or, where samples differ in length, of the mean length, since
    batches are of like lengths and cost what theirs is; and then the longest one."""
    if lengths is None:
        return np.linspace(0, total - 1, count).astype(int), None
    order = np.argsort(lengths, kind="stable")
    middle = int(np.searchsorted(lengths[order], lengths.mean()))
    start = min(max(0, middle - count // 2), total - count)
    return order[start : start + count], order[-count:]


def _measure(
    backbone: StagedBackbone,
    engine: Engine,
    activations: Activations,
    most: Activations,
    count: int,
) -> Costs:
    """All but what reading the samples costs; most: the batch that takes the most memory."""
    folding, inference = map(
        min, zip(*(_pass(backbone, engine, activations) for _ in range(_ROUNDS)), strict=True)
    )
    rounds = [_step(backbone, engine, batch) for batch in (most, *[activations] * _ROUNDS)]
    backbone.net.requires_grad_(True)
    backbone.eval()
    forward, backward, step, sizes = rounds[-1]
    return Costs(
        decode=0.0,
        prepare=0.0,
        sample_bytes=0,
        inference=inference / count,
        fold=folding,
        forward=tuple(seconds / count for seconds in forward),
        backward=backward / sum(forward),
        step=step,
        activation_bytes=tuple(size // count for size in sizes),
        peak_bytes=peak_memory(),
    )


def _pass(
    backbone: StagedBackbone, engine: Engine, activations: Activations
) -> tuple[float, float]:
    """Seconds to fold the network, and then of its forward pass without gradients."""
    backbone.eval()
    with torch.inference_mode(), engine.autocast(), ExitStack() as stack:
        folding, _ = _timed(lambda: stack.enter_context(fold(backbone, activations)))
        inference, _ = _timed(lambda: _settled(backbone.run(activations)))
    return folding, inference


def _step(
    backbone: StagedBackbone, engine: Engine, activations: Activations
) -> tuple[list[float], float, float, list[int]]:
    """Seconds forward by stage, backward, and of the optimiser; bytes of the activations."""
    backbone.freeze(0, norm_statistics="frozen")
    backbone.train()
    trained = list(backbone.net.parameters())
    optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)
    seconds, sizes = [], []
    with engine.autocast():
        for stage in backbone.stages:
            spent, activations = _timed(partial(_run, stage, activations))
            seconds.append(spent)
            sizes.append(sum(t.numel() * t.element_size() for t in activations.values()))
        loss = backbone.logits(activations, start=backbone.depth).float().logsumexp(1).mean()

    def backpropagate() -> None:
        torch.autograd.backward(loss)
        _settled(None)

    backward, _ = _timed(backpropagate)

    def update() -> None:
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        _settled(None)

    update()  # the first one makes the optimiser's state
    step, _ = _timed(update)
    optimizer.zero_grad(set_to_none=True)
    return seconds, backward, step, sizes


def peak_memory() -> int:
    """The most bytes that this process has held: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _run(stage: Stage, activations: Activations) -> Activations:
    return _settled(stage.run(activations))


def _settled(result: T) -> T:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result
