"""A model in an ONNX file, run by onnxruntime alone: no torch, no plugin.

The file's metadata says what the model is. It may come from a stranger: it is parsed as bounded
data, nothing that it names is imported or opened, and weights outside of the file are not read.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zooadapt import tasks
from zooadapt.data import Split
from zooadapt.errors import DataError, UsageError
from zooadapt.family import config_keys, portable
from zooadapt.family.config_keys import choice, text, whole
from zooadapt.family.modality import View
from zooadapt.family.portable import Pixels, Portable
from zooadapt.runtime import filesystem, model_files
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.task import Task

SUFFIX = ".onnx"
FORMAT = 1
FLOAT, INT8 = "onnx", "onnx-int8"
IMAGES, LOGITS, FEATURES = "image", "logits", "features"
"""Names in every graph: of the input for images, and of the outputs."""
_AHEAD = 8
"""Images that threads decode while the network runs."""
_FILE = "the ONNX file's metadata"
_SHA = text("[0-9a-f]{64}", "a sha256")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the metadata of an ONNX file says of its model."""

    kind: str
    """`onnx` or `onnx-int8`."""
    modality: str
    task: Mapping[str, Any]
    """Its name, and what else the export's config says of it, such as thresholds."""
    classes: tuple[str, ...]
    """Names of the outputs, in the order of the logits."""
    calibration: Mapping[str, Any]
    source: Mapping[str, Any]
    license: str | None
    white: int | None
    """The white level of the 16-bit images that the model was adapted to."""
    min_side: int | None
    preprocessing: Portable
    weights: str
    """The hash of the weights that were exported."""
    proof: Mapping[str, Any]

    @property
    def view(self) -> View:
        """What the graph takes of raw samples."""
        described = self.preprocessing
        channels = described.channels if isinstance(described, Pixels) else 3
        return View(channels=channels, min_side=self.min_side)

    def metadata(self) -> dict[str, str]:
        """The entries of the file: texts as they are, everything else as JSON."""
        named = {
            "format": FORMAT,
            "kind": self.kind,
            "modality": self.modality,
            "white": self.white,
            "min_side": self.min_side,
            "weights": self.weights,
        }
        described = portable.to_json(self.preprocessing)
        tokenizer = described.pop("tokenizer", None)
        entries: dict[str, Any] = {
            "zooadapt": named,
            "task": dict(self.task),
            "labels": list(self.classes),
            "calibration": dict(self.calibration) or None,
            "source": dict(self.source),
            "license": self.license,
            "preprocessing": described,
            "tokenizer": tokenizer,
            "proof": dict(self.proof),
        }
        return {
            key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for key, value in entries.items()
            if value is not None
        }


def parse(metadata: Mapping[str, str], path: Path) -> Facts:
    """The facts in the metadata of a file.

    Raises: DataError naming the entry that is missing or malformed.
    """
    if "zooadapt" not in metadata:
        raise DataError(
            f"'{path}' is an ONNX file that zooadapt did not write: it does not say what its "
            "inputs and outputs mean",
            thing=str(path),
            remedy="zooadapt export MODEL --to onnx makes one",
        )
    parts = {
        key: model_files.parse_config(metadata.get(key, "{}").encode(), path)
        for key in ("zooadapt", "task", "preprocessing", "calibration", "source", "proof")
    }
    named = parts["zooadapt"]
    described = parts["preprocessing"]
    if "tokenizer" in metadata:
        described["tokenizer"] = metadata["tokenizer"]
    labels = metadata.get("labels", "null").encode()
    lists = model_files.parse_config(b'{"labels": %s}' % labels, path)
    return Facts(
        kind=config_keys.get(named, "kind", choice(FLOAT, INT8), file=_FILE),
        modality=config_keys.get(named, "modality", text(r"\w+", "a modality"), file=_FILE),
        task=parts["task"],
        classes=config_keys.names(lists, "labels") or (),
        calibration=parts["calibration"],
        source=parts["source"],
        license=metadata.get("license"),
        white=config_keys.get(named, "white", whole(1, (1 << 16) - 1), None, file=_FILE),
        min_side=config_keys.get(named, "min_side", whole(1, 1 << 16), None, file=_FILE),
        preprocessing=portable.parse(described),
        weights=config_keys.get(named, "weights", _SHA, file=_FILE),
        proof=parts["proof"],
    )


class OnnxModel:
    """A network with its preprocessing and its classes."""

    def __init__(self, content: bytes, path: Path) -> None:
        """content: of a file; path: its name in errors.

        Raises: DataError for a file that onnxruntime cannot read or whose metadata is malformed;
        UsageError without onnxruntime.
        """
        self._session = session(content, path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.path = path
        self.facts = parse(metadata, path)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.facts.classes

    @cached_property
    def task(self) -> Task:
        """Raises: DataError for a task that this version does not know."""
        return tasks.of_facts(self.facts.classes, {"task": self.facts.task})

    @property
    def view(self) -> View:
        """What the graph takes of raw samples."""
        return self.facts.view

    def logits(self, split: Split, *, batch_size: int, progress: Progress) -> np.ndarray:
        """The `(n, K)` fp32 logits of a split's samples."""
        return self._run(LOGITS, split, batch_size, progress, "evaluating")

    def features(self, split: Split, *, batch_size: int, progress: Progress) -> np.ndarray:
        """The `(n, D)` fp32 features of a split's samples, which the head takes."""
        return self._run(FEATURES, split, batch_size, progress, "features")

    def run(self, inputs: Mapping[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        """These outputs, or all.

        Raises: DataError for inputs that the graph cannot take.
        """
        try:
            arrays: list[np.ndarray] = self._session.run(list(outputs) or None, dict(inputs))
        except Exception as error:  # as above
            raise DataError(
                f"onnxruntime cannot run '{self.path}': {' '.join(str(error).split())[:300]}",
                thing=str(self.path),
                remedy="export the model again",
            ) from error
        return arrays

    def _run(
        self, output: str, split: Split, batch_size: int, progress: Progress, what: str
    ) -> np.ndarray:
        whole: np.ndarray | None = None
        with progress.task(what, len(split)) as advance:
            for indices, inputs in batches(self.facts, split, batch_size):
                (rows,) = self.run(inputs, output)
                if whole is None:
                    whole = np.zeros((len(split), rows.shape[1]), np.float32)
                whole[indices] = rows
                advance(len(indices))
        assert whole is not None
        return whole


def session(content: bytes, path: Path) -> Any:
    """A session of onnxruntime for the content of a file. path: its name in errors.

    Raises: DataError for a file that onnxruntime cannot read; UsageError without it.
    """
    library = onnxruntime()
    options = library.SessionOptions()
    options.log_severity_level = 4
    try:
        # From bytes: so no file that the graph may name beside it is opened.
        return library.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common class
        raise DataError(
            f"onnxruntime cannot read '{path}': {' '.join(str(error).split())[:300]}",
            thing=str(path),
            remedy="export the model again",
        ) from error


def onnxruntime() -> Any:
    """The library. Raises: UsageError without it."""
    try:
        import onnxruntime as library
    except ImportError as error:
        raise UsageError(
            "an ONNX file is run by onnxruntime, which is not installed",
            thing="onnxruntime",
            remedy="pip install 'zooadapt[onnx]'",
        ) from error
    return library


def batches(
    facts: Facts, split: Split, batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Indices of samples and the graph's inputs: images one by one, since they differ in size,
    texts sorted by length."""
    described = facts.preprocessing
    if isinstance(described, Pixels):
        for index, image in enumerate(_images(facts, described, split)):
            yield np.array([index]), {IMAGES: image}
        return
    rows = described.rows([split.raw(index) for index in range(len(split))])
    lengths = [max(len(row) for row in one.values() if isinstance(row, list)) for one in rows]
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, portable.batch([rows[index] for index in indices])


def one_by_one(facts: Facts, split: Split) -> list[dict[str, np.ndarray]]:
    """The graph's inputs for each sample alone, in order; texts padded to the same length."""
    described = facts.preprocessing
    if isinstance(described, Pixels):
        return [{IMAGES: image} for image in _images(facts, described, split)]
    whole = portable.batch(described.rows([split.raw(index) for index in range(len(split))]))
    return [{name: array[k : k + 1] for name, array in whole.items()} for k in range(len(split))]


def _images(facts: Facts, described: Pixels, split: Split) -> Iterator[np.ndarray]:
    """`(1, H, W, C)` bytes of each image, which threads decode."""

    def read(index: int) -> np.ndarray:
        image = split.viewed(index, facts.view)
        pixels = np.asarray(image)
        return pixels.reshape(1, *pixels.shape[:2], described.channels)

    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        waiting: deque[Future[np.ndarray]] = deque()
        try:
            for index in range(len(split)):
                waiting.append(pool.submit(read, index))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read(path: Path) -> OnnxModel:
    """The model in a file.

    Raises: as `OnnxModel`; NotFoundError, AccessError or FileError when it cannot be read.
    """
    with filesystem.reading(path):
        content = path.read_bytes()
    return OnnxModel(content, path)


def weights_sha256(folder: Path) -> str:
    """The hash of all weights of a model's folder."""
    paths = sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")])
    hashes = {path.relative_to(folder).as_posix(): filesystem.file_sha256(path) for path in paths}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
