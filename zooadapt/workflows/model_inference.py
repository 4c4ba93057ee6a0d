"""Inference with a network that is built: probabilities, metrics and features of a split's samples.

What needs no torch is checked before torch is imported, so that it fails at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.backbone.onnx_model import OnnxModel
from zooadapt.backbone.pretrained import Model
from zooadapt.data import Dataset, ReadOptions, Split
from zooadapt.data.dataset import Window
from zooadapt.errors import UsageError
from zooadapt.runtime import distributed, filesystem
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import AUTO
from zooadapt.tasks.predictions import Prediction, WindowPrediction
from zooadapt.workflows.settings import Settings
from zooadapt.zoo.sources import Source

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.backbone.activations import ActivationStore
    from zooadapt.backbone.engine import Engine
    from zooadapt.backbone.precision import Mode
    from zooadapt.tasks.figures import Figures

ALL = "samples"
PARTS = ("train", "val", "test", "all")
"""Of a labelled set, as `evaluate` takes them."""


def measure(
    model: Model | OnnxModel, data: Dataset, split: Split, settings: Settings, progress: Progress
) -> tuple[Figures, np.ndarray, np.ndarray]:
    """The metrics of a model on a part of a labelled set, the labels as the model's task has them,
    and the `(n, K)` outputs.

    Raises: DataError when the part holds a class that the model does not know.
    """
    task = model.task
    labels = task.aligned(split.labels, data.task, where=data.location)
    outputs = outputs_of(model, split, settings, progress)
    return task.measure(task.answers(outputs), labels, outputs=outputs), labels, outputs


def outputs_of(
    model: Model | OnnxModel, split: Split, settings: Settings, progress: Progress
) -> np.ndarray:
    """The `(n, K)` probabilities or values of a split's samples, in fp32."""
    if isinstance(model, OnnxModel):
        logits = model.logits(split, batch_size=settings.batch_size, progress=progress)
        return model.task.outputs_of(logits)
    return model.task.outputs_of(_logits(model, split, settings, progress))


def predictions_of(
    model: Model | OnnxModel,
    split: Split,
    settings: Settings,
    progress: Progress,
    *,
    reject_below: float = 0.0,
    top: int | None = None,
) -> list[Any]:
    """What the model says of a split's samples, in order: `Answer`s of its task.

    Raises: UsageError when samples can be rejected and the model has a class of that name.
    """
    model.task.say(np.empty((0, len(model.classes))), [], [], top=top, reject_below=reject_below)
    outputs = outputs_of(model, split, settings, progress)
    return said(model, split, outputs, top=top, reject_below=reject_below)


def said(
    model: Model | OnnxModel,
    split: Split,
    outputs: np.ndarray,
    *,
    top: int | None = None,
    reject_below: float = 0.0,
) -> list[Any]:
    """What the model says of a split's samples by its `(n, K)` outputs."""
    texts = [split.text(index) for index in range(len(split))]
    each = model.task.say(outputs, split.ids, texts, top=top, reject_below=reject_below)
    cutting = {} if isinstance(model, OnnxModel) else model.source.cutting
    background = cutting.get("background")
    return [_in_time(one, split.window(k), background) for k, one in enumerate(each)]


def _in_time(prediction: Any, window: Window | None, background: str | None) -> Any:
    """A class that was predicted for a part of a recording, with its times."""
    if window is None or not isinstance(prediction, Prediction):
        return prediction
    return WindowPrediction(
        **vars(prediction) | {"input": window.recording},
        start=window.start,
        end=window.end,
        background=prediction.label == background,
    )


def features_of(
    model: Model, split: Split, settings: Settings, progress: Progress, *, layer: str | None = None
) -> np.ndarray:
    """The `(n, D)` fp32 features of a split's samples, or the means of the channels that the stage
    `layer` gives, over all places of a sample.

    Raises: UsageError where the network has no stage of that name.
    """
    backbone = model.backbone
    stop = backbone.depth if layer is None else backbone.resolve(layer) + 1
    import torch

    from zooadapt.backbone.staged import channel_means

    engine, store = placed(model, split, settings, progress)
    loader = store.at(ALL, stop)
    if layer is None:
        batch_size = settings.batch_size
        features = engine.features(backbone, loader, batch_size=batch_size, progress=progress)
        return features.numpy()
    # A text alone in its batch is not padded: padding would count as places.
    alone = model.source.family.can.variable_length
    rows: dict[int, Tensor] = {}
    channels = backbone.channels(stop)
    for indices, activations in engine.activations(
        backbone,
        loader,
        stops=[stop],
        batch_size=1 if alone else settings.batch_size,
        progress=progress,
        what="features",
    ):
        rows |= zip(indices.tolist(), channel_means(activations[stop], channels), strict=True)
    width = distributed.broadcast(lambda: len(next(iter(rows.values()))))
    whole = torch.zeros(len(split), width)
    for index, row in rows.items():
        whole[index] = row
    distributed.all_reduce(whole)
    return whole.numpy()


def reading_of(source: Source, reading: ReadOptions) -> ReadOptions:
    """How data is read for a model: 16-bit images, and windows of recordings, as those that it was
    adapted to, and labels as those of its task.

    Raises: UsageError where another task is named.
    """
    own = reading.task if source.task is None else source.task.name
    if reading.task not in (AUTO, own):
        raise UsageError(
            f"--task {reading.task} is not the task of the model, which is {own}",
            thing="--task",
            remedy="leave it out",
        )
    cutting = source.cutting
    if cutting and reading.window is None:
        hop = reading.hop or min(cutting["hop"], cutting["window"])
        reading = replace(reading, window=cutting["window"], hop=hop)
    return replace(reading, white=source.white, task=own, trains=False)


def seed_of(source: Source) -> int:
    """What the export's data was divided by; 0 for a source that was not made here."""
    facts = source.config.get("zooadapt")
    seed = facts.get("seed") if isinstance(facts, Mapping) else None
    return seed if isinstance(seed, int) and seed >= 0 else 0


def part_of(data: Dataset, name: str | None) -> Split:
    """The part of a labelled set that is measured on: one of `PARTS`, or by default the test part,
    or all where the set has none of its own.

    Raises: UsageError for a part that it does not have.
    """
    if name is None:
        name = "test" if data.has_own_test and data.test else "all"
    rest, held_out = data.train_and_val() or (data.train, None)
    parts = {"train": rest, "val": held_out, "test": data.test, "all": data.everything}
    part = parts[name]
    if part is None:
        names = ", ".join(other for other, split in parts.items() if split is not None)
        raise UsageError(
            f"'{data.location}' has no {name} part",
            thing="--split",
            remedy=f"--split with one of {names}",
        )
    return part


def _logits(model: Model, split: Split, settings: Settings, progress: Progress) -> Tensor:
    engine, store = placed(model, split, settings, progress)
    store.prepare(ALL, [model.backbone.depth])
    return engine.logits(
        model.backbone,
        store.at(ALL, model.backbone.depth),
        batch_size=settings.batch_size,
        progress=progress,
    )


def placed(
    model: Model, split: Split, settings: Settings, progress: Progress
) -> tuple[Engine, ActivationStore]:
    """An engine with the network in place, and a store of the split under the name `ALL`."""
    from zooadapt.backbone.activations import ActivationStore
    from zooadapt.backbone.cache import Cache
    from zooadapt.backbone.engine import Engine

    mode = _mode(model, split, settings, progress)
    engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
    engine.place(model.backbone)
    cache = None
    if settings.cache_gb > 0:
        cache = Cache(filesystem.cache_home(), limit=round(settings.cache_gb * 1e9))
    return engine, ActivationStore(
        model, engine, {ALL: split}, batch_size=settings.batch_size, progress=progress, cache=cache
    )


def _mode(model: Model, split: Split, settings: Settings, progress: Progress) -> Mode:
    from zooadapt.backbone.loaders import Inputs
    from zooadapt.backbone.precision import choose, of_export

    device = distributed.device()
    recorded = of_export(model.source.config, device) if settings.precision == "auto" else None
    if recorded is not None:
        return recorded
    progress.doing("measuring in which precision and layout the network is fastest here")
    loader = Inputs(split, model.preprocessor, view=model.view)
    batch = next(loader.batches([np.arange(min(4, len(split)))]))
    return choose(model.backbone, batch, precision=settings.precision, device=device)
