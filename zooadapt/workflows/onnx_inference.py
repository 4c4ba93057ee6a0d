"""Predictions and features by an ONNX file in place of torch: one that the user names, or the one
that `zooadapt export` left beside a model's weights."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from zooadapt.backbone import onnx_model
from zooadapt.backbone.onnx_model import FLOAT, SUFFIX, OnnxModel
from zooadapt.data import ReadOptions, open_samples
from zooadapt.errors import UsageError
from zooadapt.runtime import filesystem, model_files
from zooadapt.runtime.progress import Progress
from zooadapt.workflows.settings import Settings

BESIDE = f"model{SUFFIX}"
"""Name of the file beside a model's weights."""


def opened(
    spec: str, settings: Settings, progress: Progress, *, at: str | None = None
) -> OnnxModel | None:
    """The ONNX file that a model is run by; None for a model that torch runs.

    A file is run as it is. In a model's folder, a float file of exactly these weights is run where
    no precision and no stage `at` was chosen and onnxruntime is installed.
    Raises: UsageError for a stage of a file; and as `onnx_model.read`.
    """
    path = Path(spec)
    beside = path / BESIDE
    if path.is_file() and path.suffix == SUFFIX:
        beside = path
    elif not beside.is_file():
        return None
    if beside == path or not (path / "config.json").exists():
        if at is not None:
            raise UsageError(
                f"'{beside}' has the features before the head, and no other stage",
                thing="--at",
                remedy="leave out --at, or name the folder of the model that was exported",
            )
        return onnx_model.read(beside)
    if settings.precision != "auto" or at is not None or find_spec("onnxruntime") is None:
        return None
    model = onnx_model.read(beside)
    if model.facts.kind != FLOAT or model.facts.weights != onnx_model.weights_sha256(path):
        progress.say(f"note: '{beside}' is no float export of these weights, so torch runs them")
        return None
    progress.say(f"note: onnxruntime runs '{beside}'; --precision fp32 runs the model with torch")
    return model


def reading_of(model: OnnxModel, reading: ReadOptions) -> tuple[str, ReadOptions]:
    """The modality of a model's data, and how it is read: 16-bit images as those that the model was
    adapted to."""
    return model.facts.modality, replace(reading, white=model.facts.white)


def features(
    model: OnnxModel, location: str, out: Path, settings: Settings, progress: Progress
) -> dict[str, tuple[int, ...]]:
    """Write the features of a set as `workflows.inference.features` does, and return the shapes."""
    progress.doing(f"reading {location}", shows=location.startswith("hf:"))
    modality, options = reading_of(model, settings.reading)
    split, task = open_samples(
        location, modality=modality, options=options, offline=settings.offline
    )
    for note in split.notes:
        progress.say(f"note: {note}")
    rows = model.features(split, batch_size=settings.batch_size, progress=progress)
    arrays = {"features": rows} | ({} if task is None else {"labels": split.labels})
    model_files.write_arrays(out, arrays)
    names = [] if task is None else list(task.outputs)
    samples = {"classes": names, "samples": list(split.ids)}
    filesystem.write_json(out.with_suffix(".json"), samples)
    return {name: array.shape for name, array in arrays.items()}
