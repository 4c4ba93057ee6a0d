"""An adapted model put to use: metrics on labelled data, labels for new inputs, embeddings.

What needs no torch is looked at before torch is imported, so that it is refused at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt import fsops, learned, listings, outputs, predictions, processes, weights
from zooadapt.data import (
    Dataset,
    ReadOptions,
    Split,
    by_value,
    open_dataset,
    open_inputs,
    open_samples,
)
from zooadapt.errors import DataError, OutputError, UsageError
from zooadapt.model import Model, Source, build, open_source
from zooadapt.predictions import UNKNOWN, Prediction
from zooadapt.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.carries import Carries
    from zooadapt.engine import Engine
    from zooadapt.metrics import Metrics
    from zooadapt.precision import Mode

_ALL = "samples"
PARTS = ("train", "val", "test", "all")
"""Of a labelled set, as `evaluate` takes them."""


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
    spec: str,
    location: str,
    settings: Settings,
    progress: Progress,
    *,
    part: str | None = None,
    listing: Path | None = None,
    top: int | None = None,
) -> tuple[Metrics, tuple[str, ...]]:
    """Metrics of a model on a labelled set, and the classes.

    part: one of `PARTS`; by default the test part, or all where the set has none of its own. What
    `adapt` split off is split off alike here. listing: a CSV of every sample, its true class, the
    predicted one and probabilities: of the `top` most probable classes, or of all.
    Raises: DataError when the set holds a class that the model does not know; UsageError for a part
    that it does not have; OutputError before any work where the list cannot be written.
    """
    if listing is not None:
        listings.check_place(listing, predictions.MEASURED, option="--csv")
    source = _source(spec, settings, progress)
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    data = open_dataset(
        location,
        modality=source.family.modality,
        options=_reading(settings, source),
        offline=settings.offline,
        seed=_seed(source),
    )
    split = _part(data, part)
    _say_notes(split, progress)
    if (note := learned.note_on(source, split)) is not None:
        progress.say(f"note: {note}")
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

    probabilities = _logits(model, split, settings, progress).softmax(1).numpy()
    if listing is not None:
        each = predictions.of_probabilities(split, model.classes, probabilities, top=top)
        truth = [model.classes[label] for label in labels.tolist()]
        _write(listing, predictions.table(each, model.classes, top=top, truth=truth))
    return of_probabilities(probabilities, labels), model.classes


def predict(
    spec: str,
    inputs: Sequence[str],
    settings: Settings,
    progress: Progress,
    *,
    reject_below: float = 0.0,
    top: int | None = None,
    listing: Path | None = None,
) -> list[Prediction]:
    """The label of each input with its softmax probability, in the order of the inputs; where that
    is below `reject_below`, the label is `UNKNOWN`. An input of a text model that is no path is a
    text itself.

    top: how many classes have probabilities in a prediction, by default all; listing: a CSV of the
    predictions.
    Raises: UsageError when the model has a class of that name; OutputError before any work where
    the list cannot be written.
    """
    if listing is not None:
        listings.check_place(listing, predictions.PREDICTED, option="--csv")
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
    probabilities = _logits(model, split, settings, progress).softmax(1).numpy()
    each = predictions.of_probabilities(
        split, model.classes, probabilities, top=top, reject_below=reject_below
    )
    if listing is not None:
        _write(listing, predictions.table(each, model.classes, top=top))
    return each


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


def _seed(source: Source) -> int:
    """What the export's data was divided by; 0 for a source that was not made here."""
    facts = source.config.get("zooadapt")
    seed = facts.get("seed") if isinstance(facts, Mapping) else None
    return seed if isinstance(seed, int) and seed >= 0 else 0


def _part(data: Dataset, name: str | None) -> Split:
    if name is None:
        name = "test" if data.has_own_test and data.test else "all"
    rest, held_out = data.parted() or (data.train, None)
    parts = {"train": rest, "val": held_out, "test": data.test, "all": data.everything}
    part = parts[name]
    if part is None:
        there = ", ".join(other for other, split in parts.items() if split is not None)
        raise UsageError(
            f"'{data.location}' has no {name} part",
            thing="--split",
            remedy=f"--split with one of {there}",
        )
    return part


def _write(path: Path, listed: tuple[list[str], Iterator[list[Any]]]) -> None:
    if processes.is_main():
        listings.write(path, *listed)
    processes.meet()


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
