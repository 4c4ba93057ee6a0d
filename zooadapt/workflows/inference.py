"""An adapted model put to use: metrics on labelled data, labels for new inputs, embeddings.

What needs no torch is checked before torch is imported, so that it fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.backbone.onnx_model import OnnxModel
from zooadapt.backbone.pretrained import Model, build
from zooadapt.data import ReadOptions, Split, open_dataset, open_inputs, open_samples
from zooadapt.errors import DataError, OutputError, UsageError
from zooadapt.runtime import csv_output, distributed, filesystem, model_files, outputs
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import AUTO, of_classes
from zooadapt.tasks.predictions import INPUT, shortened
from zooadapt.workflows import learned_samples, onnx_inference, recordings
from zooadapt.workflows.model_inference import (
    ALL,
    measure,
    part_of,
    placed,
    predictions_of,
    reading_of,
    said,
    seed_of,
)
from zooadapt.workflows.settings import Settings
from zooadapt.zoo.sources import Source, open_source, usual

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.figures import Figures
    from zooadapt.tasks.task import Task


def evaluate(
    spec: str,
    location: str,
    settings: Settings,
    progress: Progress,
    *,
    part: str | None = None,
    listing: Path | None = None,
    top: int | None = None,
) -> tuple[Figures, Task]:
    """Metrics of a model on a labelled set, and its task.

    part: one of `PARTS`; by default the test part, or all where the set has none of its own. What
    `adapt` split off is split off alike here. listing: a CSV of every sample, its true class, the
    predicted one and probabilities: of the `top` most probable classes, or of all.
    Raises: DataError when the set holds a class that the model does not know; UsageError for a part
    that it does not have; OutputError before any work where the list cannot be written.
    """
    if listing is not None:
        csv_output.check_place(listing, INPUT, option="--csv")
    source = _source(spec, settings, progress)
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    data = open_dataset(
        location,
        modality=source.family.modality,
        options=reading_of(source, settings.reading),
        offline=settings.offline,
        seed=seed_of(source),
    )
    split = part_of(data, part)
    _say_notes(split, progress)
    if (note := learned_samples.note_on(source, split)) is not None:
        progress.say(f"note: {note}")
    progress.doing("building the network")
    model = build(source)
    metrics, labels, outputs = measure(model, data, split, settings, progress)
    if listing is not None:
        each = said(model, split, outputs, top=top)
        _write(listing, model.task.listing(each, top=top, truth=labels))
    return metrics, model.task


def predict(
    spec: str,
    inputs: Sequence[str],
    settings: Settings,
    progress: Progress,
    *,
    reject_below: float = 0.0,
    top: int | None = None,
    listing: Path | None = None,
    track: Path | None = None,
) -> list[Any]:
    """What the model says of each input, in the order of the inputs: for classes, the label with
    its softmax probability; where that is below `reject_below`, the label is `UNKNOWN`. An input of
    a text model that is no path is a text itself.

    top: how many classes have probabilities in a prediction, by default all; listing: a CSV of the
    predictions; track: a label track of the windows of recordings. Predictions for windows, which
    are `WindowPrediction`, have probabilities of all classes.
    Raises: UsageError when the model has a class of that name, or there are no windows for a track;
    OutputError before any work where a file cannot be written.
    """
    if track is not None:
        recordings.check_track(track)
    if listing is not None:
        csv_output.check_place(listing, INPUT, option="--csv")
    model: Model | OnnxModel | None = onnx_inference.opened(spec, settings, progress)
    if isinstance(model, OnnxModel):
        split = _inputs(inputs, *onnx_inference.reading_of(model, settings.reading), progress)
    else:
        source = _source(spec, settings, progress)
        options = reading_of(source, settings.reading)
        split = _inputs(inputs, source.family.modality, options, progress)
        progress.doing("building the network")
        model = build(source)
    is_cut = len(split) > 0 and split.window(0) is not None
    each = predictions_of(
        model,
        split,
        settings,
        progress,
        reject_below=reject_below,
        top=None if is_cut else top,
    )
    if track is not None:
        recordings.write_track(track, each, rate=model.view.rate)
    if listing is not None:
        short = [shortened(one, top) for one in each]
        _write(listing, model.task.listing(short, top=top, truth=None))
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

    `features` is `(n, D)` fp32, or the flattened activations after stage `at`, under the names of
    its tensors; `labels` is there where the set has labels, as its task has them: `(n,)` int64 for
    classes, `(n, K)` for other tasks. Rows are the set's samples in order, train before test; a
    `.json` file of the same name beside it names the classes and the samples. Both may replace what
    is there, unless only one of them is: that is something else, such as a model's weights.

    Raises: UsageError for another suffix than `.safetensors`; OutputError before any work where
    one of the two files cannot be written or should not be replaced; DataError when the activations
    at that stage differ in length between samples.
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
    present = [path for path in (out, beside) if path.exists()]
    if len(present) == 1:
        (missing,) = {out, beside} - set(present)
        raise OutputError(
            f"'{present[0]}' is there without '{missing.name}', so it may be something else",
            thing=str(present[0]),
            remedy="choose another output, or remove it",
        )
    onnx = onnx_inference.opened(spec, settings, progress, at=at)
    if onnx is not None:
        return onnx_inference.features(onnx, location, out, settings, progress)
    source = _source(spec, settings, progress)
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    reading = reading_of(source, replace(settings.reading, task=AUTO))
    split, task = open_samples(
        location,
        modality=source.family.modality,
        options=replace(reading, task=settings.reading.task),
        offline=settings.offline,
    )
    progress.doing("building the network")
    model = build(usual(source), task=task or source.task or of_classes(["class"]))
    _say_notes(split, progress)
    stop = model.backbone.depth if at is None else model.backbone.resolve(at) + 1
    import torch

    engine, store = placed(model, split, settings, progress)
    store.prepare(ALL, [stop])
    tensors: dict[str, Tensor] = {}
    uneven = False
    for indices, stages in engine.activations(
        model.backbone,
        store.at(ALL, stop),
        stops=[stop],
        batch_size=settings.batch_size,
        progress=progress,
        what="features",
    ):
        for name, rows in stages[stop].items():
            flat = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
            whole = tensors.setdefault(name, torch.zeros(len(split), flat.shape[1]))
            uneven |= whole.shape[1] != flat.shape[1]
            if not uneven:
                whole[indices] = flat.to(whole.dtype)
        if uneven:
            break
    widths = distributed.broadcast(lambda: {name: rows.shape[1] for name, rows in tensors.items()})
    uneven |= any(rows.shape[1] != widths[name] for name, rows in tensors.items())
    if distributed.any_process(uneven):
        raise DataError(
            f"activations at '{at}' differ in length, they make no table",
            thing=str(at),
            remedy="leave out --at",
        )
    for name, width in widths.items():
        distributed.all_reduce(tensors.setdefault(name, torch.zeros(len(split), width)))
    if task is not None:
        tensors["labels"] = torch.from_numpy(split.labels)
    if distributed.is_main():
        model_files.write_weights(out, tensors)
        names = list(task.outputs) if task is not None else []
        filesystem.write_json(beside, {"classes": names, "samples": list(split.ids)})
    distributed.barrier()
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _write(path: Path, listed: tuple[list[str], Iterator[list[Any]]]) -> None:
    if distributed.is_main():
        csv_output.write(path, *listed)
    distributed.barrier()


def _inputs(
    inputs: Sequence[str], modality: str, options: ReadOptions, progress: Progress
) -> Split:
    progress.doing("reading the inputs")
    split = open_inputs(inputs, modality=modality, options=options)
    _say_notes(split, progress)
    return split


def _say_notes(split: Split, progress: Progress) -> None:
    for note in split.notes:
        progress.say(f"note: {note}")


def _source(spec: str, settings: Settings, progress: Progress) -> Source:
    progress.doing(f"opening {spec}", shows=not Path(spec).exists())
    return open_source(spec, offline=settings.offline)
