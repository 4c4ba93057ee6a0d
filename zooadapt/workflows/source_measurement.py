"""What a sample of the data tells of one pretrained model: how well its features predict the
classes, and what it costs to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.cache import Cache
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs, Loader, in_order
from zooadapt.backbone.precision import choose, machine
from zooadapt.backbone.pretrained import Model, build
from zooadapt.backbone.rows import in_memory
from zooadapt.backbone.staged import POOLED, StagedBackbone, prefix_sha256
from zooadapt.data import Split
from zooadapt.data.splits import TRAIN
from zooadapt.errors import DataError
from zooadapt.heads import baselines, fitting, reference_scores
from zooadapt.runtime import distributed, filesystem
from zooadapt.runtime.measurements import remember
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import elapsed
from zooadapt.tasks.task import Task
from zooadapt.training import pooling
from zooadapt.workflows.rank_options import BATCH, RankRequest
from zooadapt.zoo.sources import Source

END = "end"
"""In place of a stage: the features that the network's own head takes."""
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class HeadScore:
    """A ridge head on features, by leave-one-out."""

    right: np.ndarray
    """`(n,)` whether the head predicts each sample's class."""
    loss: float
    """Cross-entropy."""

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a pass through the network takes on this machine."""

    seconds: float
    """Of a sample, from its file to its features."""
    memory_bytes: int
    """An estimate: weights, and the largest activations that enter and leave a stage in a batch."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One pretrained model on a sample of the data."""

    head: HeadScore
    """On the features of the last stage, which `adapt` fits its head to."""
    stage: str
    """The depth whose features have the lowest leave-one-out loss: `END`, or a stage whose channel
    means they are."""
    stage_head: HeadScore
    neighbours: float
    """Leave-one-out accuracy of the nearest neighbours by the features of the last stage."""
    log_evidence: float
    """LogME of the features of the last stage."""
    h_score: float
    untrained: HeadScore | None
    """The same network with random weights; None where the sample is not the smallest one, or its
    features are not finite."""
    cost: Cost
    parameters: int
    input: str
    """The input size, such as `224x224` or `128 tokens`; empty where nothing fixes it."""
    notes: tuple[str, ...]


def measure(
    source: Source,
    sample: Split,
    first: Split,
    task: Task,
    request: RankRequest,
    progress: Progress,
) -> Measurement:
    """A pretrained model on a sample, in one pass over what is not stored yet. first: the smallest
    sample, which also decides how the network pools and on which it is measured untrained.

    Raises: DataError for features that are not finite; and as `build`.
    """
    batch_size = request.batch_size or BATCH
    progress.doing(f"building {source.name}")
    builder = partial(
        build,
        task=task,
        input_size=request.input_size,
        max_length=request.max_length,
        seed=request.seed,
    )
    model, engine = _placed(builder(source), first)
    model, _ = pooling.choose(
        model, engine, first, builder, batch_size=batch_size, progress=progress
    )
    rows, stages, notes = _features(model, engine, sample, request, progress)
    if not rows.isfinite().all():
        raise DataError(
            f"the features of '{source.name}' are not finite on this data",
            thing=source.name,
            remedy="choose another source",
        )
    labels, groups = torch.from_numpy(sample.labels), sample.groups
    progress.doing(f"fitting heads to the features of {source.name}")
    score = partial(_score, labels=labels, task=task, groups=groups)
    head = score(rows)
    heads = {END: head} | {
        name: score(features) for name, features in stages.items() if features.isfinite().all()
    }
    stage = min(heads, key=lambda name: heads[name].loss)
    predicted = baselines.nearest_others(rows, labels, task, groups=groups)
    untrained = None
    if len(sample) == len(first):
        random = builder(model.source, from_scratch=True)
        engine.place(random.backbone)
        progress.doing(f"measuring the untrained network of {source.name}")
        without, *_ = _features(random, engine, first, request, progress)
        untrained = score(without) if without.isfinite().all() else None
    backbone = model.backbone
    return Measurement(
        head=head,
        stage=stage,
        stage_head=heads[stage],
        neighbours=float((task.errors(predicted, sample.labels) == 0).mean()),
        log_evidence=reference_scores.log_evidence(rows, labels, len(task.outputs)),
        h_score=reference_scores.h_score(rows, labels, len(task.outputs)),
        untrained=untrained,
        cost=_cost(model, engine, first, batch_size),
        parameters=sum(p.numel() for p in backbone.net.parameters()) - _head_size(backbone),
        input=_input(model),
        notes=tuple(notes),
    )


def _features(
    model: Model, engine: Engine, sample: Split, request: RankRequest, progress: Progress
) -> tuple[Tensor, dict[str, Tensor], list[str]]:
    """`(n, D)` features of the last stage, the `(n, C)` channel means of every stage, and notes of
    the store that keeps both."""
    batch_size = request.batch_size or BATCH
    cache = None
    if request.cache_gb > 0:
        cache = Cache(filesystem.cache_home(), limit=round(request.cache_gb * 1e9))
    store = ActivationStore(
        model, engine, {TRAIN: sample}, batch_size=batch_size, progress=progress, cache=cache
    )
    backbone = model.backbone
    store.prepare(TRAIN, [POOLED, backbone.depth])
    ends, means = (store.at(TRAIN, stop) for stop in (backbone.depth, POOLED))
    if ends.freeze_at == backbone.depth and means.freeze_at == POOLED:
        rows, stages = _stored(ends)["features"], _stored(means)
    else:
        rows, stages = _computed(backbone, engine, store.at(TRAIN, 0), batch_size, progress)
    return rows, stages, store.notes


def _placed(model: Model, sample: Split) -> tuple[Model, Engine]:
    """The model in the fastest precision and layout of this machine, as `adapt` would run it."""
    batch = next(_inputs(model, sample).batches([np.arange(min(4, len(sample)))]))
    mode = choose(model.backbone, batch, precision="auto", device=distributed.device())
    engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
    engine.place(model.backbone)
    return model, engine


def _inputs(model: Model, sample: Split) -> Inputs:
    return Inputs(
        sample,
        model.preprocessor,
        view=model.view,
        variable_length=model.source.family.can.variable_length,
        memory=0,
    )


def _stored(loader: Loader) -> dict[str, Tensor]:
    """All rows of stored activations, by name, in fp32."""
    parts = list(loader.batches(in_order(len(loader), _ROWS)))
    return {name: torch.cat([part[name].float() for part in parts]) for name in parts[0]}


def _computed(
    backbone: StagedBackbone, engine: Engine, inputs: Loader, batch_size: int, progress: Progress
) -> tuple[Tensor, dict[str, Tensor]]:
    """`(n, D)` features of the last stage and the `(n, C)` channel means of every stage."""
    rows: dict[str, Tensor] = {}
    for indices, stops in engine.activations(
        backbone,
        inputs,
        stops=[POOLED, backbone.depth],
        batch_size=batch_size,
        progress=progress,
        what="features",
    ):
        for name, part in ({END: stops[backbone.depth]["features"]} | stops[POOLED]).items():
            whole = rows.setdefault(name, torch.zeros(len(inputs), part.shape[1]))
            whole[indices] = part.float()
    widths = distributed.broadcast(lambda: {name: part.shape[1] for name, part in rows.items()})
    for name, width in widths.items():  # a process without a batch has no rows
        distributed.all_reduce(rows.setdefault(name, torch.zeros(len(inputs), width)))
    return rows.pop(END), rows


def _score(rows: Tensor, labels: Tensor, task: Task, groups: np.ndarray | None) -> HeadScore:
    logits = fitting.fit_head(in_memory(rows), labels, task, groups=groups).held_out_logits
    answers = task.answers(task.outputs_of(logits))
    return HeadScore(
        right=task.errors(answers, labels.numpy()) == 0,
        loss=float(task.losses(logits, labels).mean()),
    )


def _cost(model: Model, engine: Engine, sample: Split, batch_size: int) -> Cost:
    """Measured once on this machine on a batch of the sample, then remembered."""
    backbone, inputs = model.backbone, _inputs(model, sample)
    count = min(batch_size, len(sample))
    batch = np.linspace(0, len(sample) - 1, count).astype(int)
    passes = partial(
        engine.activations, backbone, inputs, batch_size=count, progress=Progress(), what=""
    )

    def measured() -> dict[str, Any]:
        (_, stops), *_ = passes(stops=range(backbone.depth + 1), only=batch[:1])
        sizes = [sum(t.nbytes for t in stops[stop].values()) for stop in sorted(stops)]
        largest = max(map(sum, pairwise(sizes)))
        state = backbone.net.state_dict().values()
        seconds = [
            elapsed(lambda: list(passes(stops=[backbone.depth], only=batch))) for _ in range(2)
        ]
        return {
            "seconds": min(seconds) / count,
            "memory_bytes": sum(t.nbytes for t in state) + count * largest,
        }

    facts: Mapping[str, Any] = {
        **machine(engine.device),
        "network": prefix_sha256(backbone, backbone.depth),
        "samples": [sample.digest(int(k)) for k in batch],
        "preprocessing": model.preprocessor.config(),
        "precision": engine.precision,
        "channels_last": engine.channels_last,
    }
    return Cost(**remember("passes", facts, measured))


def _head_size(backbone: StagedBackbone) -> int:
    return sum(p.numel() for p in backbone.head.parameters())


def _input(model: Model) -> str:
    settings = model.preprocessor.config()
    if size := settings.get("input_size"):
        return "x".join(str(side) for side in size[1:])
    length = settings.get("max_length")
    return f"{length} symbols" if length else ""
