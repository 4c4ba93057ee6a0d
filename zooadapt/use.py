"""An adapted model put to use: metrics on labelled data, labels for new inputs, embeddings.

What needs no torch is looked at before torch is imported, so that it is refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zooadapt import fsops, outputs, processes, weights
from zooadapt.data import ReadOptions, Split, by_value, open_dataset, open_inputs, open_samples
from zooadapt.errors import DataError, OutputError, UsageError
from zooadapt.model import Model, Source, build, open_source
from zooadapt.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.carries import Carries
    from zooadapt.engine import Engine
    from zooadapt.metrics import Metrics
    from zooadapt.precision import Mode

UNKNOWN = "unknown"
"""The label of an input that no class is probable enough for."""
_ALL = "samples"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most probable class of one input."""

    input: str
    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is run; `auto` is the precision that it was made with, where the machine has it,
    or else a measurement's."""

    precision: str = "auto"
    batch_size: int = 32
    offline: bool = False
    cache_gb: float = 10.0
    reading: ReadOptions = ReadOptions()


def evaluate(
    spec: str, location: str, settings: Settings, progress: Progress
) -> tuple[Metrics, tuple[str, ...]]:
    """Metrics of a model on a labelled set (its test part where it has one), and the classes.

    Raises: DataError when the set holds a class that the model does not know.
    """
    source = _source(spec, settings, progress)
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    data = open_dataset(
        location,
        modality=source.family.modality,
        options=_reading(settings, source),
        offline=settings.offline,
    )
    split = data.test if data.has_own_test and data.test else data.everything
    _say_notes(split, progress)
    progress.doing("building the network")
    model = build(source)
    # Classes of tables are told apart by value, which those of older models were not.
    rows = {name: row for row, name in enumerate(by_value(model.classes))}
    rows |= {name: row for row, name in enumerate(model.classes)}
    unknown = sorted({data.classes[k] for k in np.unique(split.labels)} - set(rows))
    if unknown:
        raise DataError(
            f"'{location}' holds classes that the model does not know: {', '.join(unknown[:5])}",
            thing=unknown[0],
            remedy=f"its classes are {', '.join(model.classes[:20])}",
        )
    labels = np.array([rows.get(name, -1) for name in data.classes])[split.labels]
    from zooadapt.metrics import of_probabilities

    logits = _logits(model, split, settings, progress)
    return of_probabilities(logits.softmax(1).numpy(), labels), model.classes


def predict(
    spec: str,
    inputs: Sequence[str],
    settings: Settings,
    progress: Progress,
    *,
    reject_below: float = 0.0,
) -> list[Prediction]:
    """The label of each input with its softmax probability, in the order of the inputs; where that
    is below `reject_below`, the label is `UNKNOWN`.

    Raises: UsageError when the model has a class of that name.
    """
    source = _source(spec, settings, progress)
    progress.doing("reading the inputs")
    split = open_inputs(inputs, modality=source.family.modality, options=_reading(settings, source))
    _say_notes(split, progress)
    progress.doing("building the network")
    model = build(source)
    if reject_below > 0 and UNKNOWN in model.classes:
        raise UsageError(
            f"the model has a class '{UNKNOWN}', which is what a rejected input would be called",
            thing="--reject-below",
            remedy="leave it out and compare the probabilities",
        )
    probabilities = _logits(model, split, settings, progress).softmax(1)
    best = probabilities.max(1)
    return [
        Prediction(
            input=name,
            label=UNKNOWN if p < reject_below else model.classes[row],
            probability=p,
        )
        for name, row, p in zip(split.ids, best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def features(
    spec: str,
    location: str,
    out: Path,
    settings: Settings,
    progress: Progress,
    *,
    at: str | None = None,
) -> dict[str, tuple[int, ...]]:
    """Write the embeddings of a set, labelled or not, to a safetensors file and return the shapes.

    `features` is `(n, D)` fp32, or the flattened carry after stage `at`, under the names of its
    tensors; `labels` is `(n,)` int64, and there where the set has labels. Rows are the set's
    samples in order, train before test; a `.json` file of the same name beside it names the classes
    and the samples. Both may replace what is there, unless only one of them is: that is something
    else, such as a model's weights.

    Raises: UsageError for another suffix than `.safetensors`; OutputError before any work where
    one of the two files cannot be written or should not be replaced; DataError when the carries at
    that stage differ in length between samples.
    """
    if out.suffix != ".safetensors":
        raise UsageError(
            f"'{out}' is no name of a safetensors file",
            thing="--out",
            remedy="-o features.safetensors",
        )
    beside = out.with_suffix(".json")
    for path in (out, beside):
        outputs.check_output_file(path)
    there = [path for path in (out, beside) if path.exists()]
    if len(there) == 1:
        (missing,) = {out, beside} - set(there)
        raise OutputError(
            f"'{there[0]}' is there without '{missing.name}', so it may be something else",
            thing=str(there[0]),
            remedy="choose another output, or remove it",
        )
    source = _source(spec, settings, progress)
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    split, classes = open_samples(
        location,
        modality=source.family.modality,
        options=_reading(settings, source),
        offline=settings.offline,
    )
    progress.doing("building the network")
    model = build(source, classes=classes or source.classes or ("class",))
    _say_notes(split, progress)
    stop = model.chain.depth if at is None else model.chain.resolve(at) + 1
    import torch

    engine, carries = _placed(model, split, settings, progress)
    carries.prepare(_ALL, [stop])
    tensors: dict[str, Tensor] = {}
    uneven = False
    for indices, found in engine.carries(
        model.chain,
        carries.at(_ALL, stop),
        stops=[stop],
        batch_size=settings.batch_size,
        progress=progress,
        what="features",
    ):
        for name, rows in found[stop].items():
            flat = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
            whole = tensors.setdefault(name, torch.zeros(len(split), flat.shape[1]))
            uneven |= whole.shape[1] != flat.shape[1]
            if not uneven:
                whole[indices] = flat.to(whole.dtype)
        if uneven:
            break
    widths = processes.decided(lambda: {name: rows.shape[1] for name, rows in tensors.items()})
    uneven |= any(rows.shape[1] != widths[name] for name, rows in tensors.items())
    if processes.anywhere(uneven):
        raise DataError(
            f"carries at '{at}' differ in length, they make no table",
            thing=str(at),
            remedy="leave out --at",
        )
    for name, width in widths.items():
        processes.total(tensors.setdefault(name, torch.zeros(len(split), width)))
    if classes:
        tensors["labels"] = torch.from_numpy(split.labels)
    if processes.is_main():
        weights.write_weights(out, tensors)
        fsops.write_json(beside, {"classes": list(classes), "samples": list(split.ids)})
    processes.meet()
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _reading(settings: Settings, source: Source) -> ReadOptions:
    """How data is read for a model: 16-bit images as those that it was adapted to."""
    return replace(settings.reading, white=source.white)


def _say_notes(split: Split, progress: Progress) -> None:
    for note in split.notes:
        progress.say(f"note: {note}")


def _source(spec: str, settings: Settings, progress: Progress) -> Source:
    progress.doing(f"opening {spec}", shows=not Path(spec).exists())
    return open_source(spec, offline=settings.offline)


def _logits(model: Model, split: Split, settings: Settings, progress: Progress) -> Tensor:
    engine, carries = _placed(model, split, settings, progress)
    carries.prepare(_ALL, [model.chain.depth])
    return engine.logits(
        model.chain,
        carries.at(_ALL, model.chain.depth),
        batch_size=settings.batch_size,
        progress=progress,
    )


def _placed(
    model: Model, split: Split, settings: Settings, progress: Progress
) -> tuple[Engine, Carries]:
    from zooadapt.cache import Cache
    from zooadapt.carries import Carries
    from zooadapt.engine import Engine

    mode = _mode(model, split, settings, progress)
    engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
    engine.place(model.chain)
    cache = None
    if settings.cache_gb > 0:
        cache = Cache(fsops.cache_home(), limit=round(settings.cache_gb * 1e9))
    return engine, Carries(
        model, engine, {_ALL: split}, batch_size=settings.batch_size, progress=progress, cache=cache
    )


def _mode(model: Model, split: Split, settings: Settings, progress: Progress) -> Mode:
    from zooadapt.feed import Inputs
    from zooadapt.precision import choose, of_export

    device = processes.device()
    made = of_export(model.source.config, device) if settings.precision == "auto" else None
    if made is not None:
        return made
    progress.doing("measuring in which precision and layout the network is fastest here")
    feed = Inputs(split, model.preprocessor, channels=model.channels)
    batch = next(feed.batches([np.arange(min(4, len(split)))]))
    return choose(model.chain, batch, wanted=settings.precision, device=device)
