"""Data that a program holds in memory, read as files are: the same samples give the same model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from zooadapt.data import opening, tables
from zooadapt.data.assembly import assemble
from zooadapt.data.columns import Wanted
from zooadapt.data.dataset import Dataset, Labelled, Split
from zooadapt.data.frames import SAMPLES, SECOND, Frame, frame_of, images_in, refused
from zooadapt.data.labels import by_value
from zooadapt.data.layout import ALL, PARTS
from zooadapt.data.options import ReadOptions
from zooadapt.data.pictures import Pictures
from zooadapt.errors import DataError, NotFoundError
from zooadapt.family import TextPair

PLACE = "data in memory"
"""What the location of such a set is called."""
_NAME = "data"
_DEFAULTS = ReadOptions()


def is_location(data: Any) -> bool:
    """Whether data is named by a path or as `hf:ID`, and is no data itself."""
    return isinstance(data, (str, os.PathLike))


def dataset_of(
    data: Any, *, modality: str, options: ReadOptions = _DEFAULTS, seed: int = 0
) -> Dataset:
    """The labelled set that a program holds: a pair of lists (samples, labels), a pandas or Arrow
    table, a `datasets.Dataset`, or a mapping of `train`, `test` and `val` to such.

    Samples are texts, pairs of texts, or images: pictures of Pillow, arrays `(H, W)`, `(H, W, 1)`,
    `(H, W, 3)` or `(H, W, 4)`, paths, or the content of files.
    Raises: DataError naming the row, column or class at fault; UsageError for other data.
    """
    parts: dict[str, Any] = {ALL: data}
    if isinstance(data, Mapping) and data and all(str(n).lower() in PARTS for n in data):
        parts = dict(data)
    rows = [_part(name, one, modality, options) for name, one in parts.items()]
    joined = _joined(rows, modality, options)
    return assemble(joined, location=PLACE, modality=modality, options=options, seed=seed)


def inputs_of(inputs: Any, *, modality: str, options: ReadOptions = _DEFAULTS) -> Split:
    """What a program gives a model to look at, without labels, in order. A string is a text where
    texts are wanted and a path where images are; a `pathlib.Path` is always a path, and a folder
    or a table stands for all that is in it.

    Raises: NotFoundError for a path that is not there, or no input at all; DataError for what is
    no text or image.
    """
    values = _items(inputs, modality, options)
    notes: list[str] = []
    if modality == "image":
        each: list[tuple[str, Any]] = []
        for number, value in enumerate(values, 1):
            if isinstance(value, (str, os.PathLike)):
                paths = opening.image_paths(os.fspath(value), options, notes)
                each += [(path, Path(path)) for path in paths]
            else:
                each.append((f"image {number}", value))
        names, pictures = [name for name, _ in each], [value for _, value in each]
        samples: Any = Pictures(names, pictures, options)
        rows: Sequence[int] = samples.examine()
        notes += samples.notes
    else:
        columns: list[tables.Texts] = []
        for is_path, group in groupby(enumerate(values, 1), lambda one: _is_path(one[1])):
            if is_path:
                columns += [opening.texts_of(os.fspath(path), options, notes) for _, path in group]
            else:
                columns.append(_Texts(list(group)))
        samples = tables.TextSamples(columns)
        rows = range(len(samples))
    if not len(rows):
        raise NotFoundError("there is no input", thing="inputs", remedy="give one or more")
    return Split(
        samples, np.full(len(rows), -1), modality=modality, rows=np.array(rows), notes=notes
    )


def _part(name: str, data: Any, modality: str, options: ReadOptions) -> _Rows:
    frame = frame_of(data, modality)
    if frame is None:
        raise refused(data)
    part = PARTS.get(str(name).lower(), ALL)
    place = _NAME if part == ALL else str(name)
    if SAMPLES in frame.names and SECOND in frame.names:
        options = replace(options, text_column=f"{SAMPLES},{SECOND}")
    text = options.text_column
    taken = (options.label_column, options.group_column)
    if modality == "image":
        text = images_in(frame, text=text, taken=taken)
    wanted = Wanted(
        text=text,
        label=options.label_column,
        group=options.group_column,
        may_lack_label=part not in ("train", ALL),
    )
    if modality == "image":
        # Arrow holds no pictures: the labels alone are made a table.
        wanted.select(place, frame.names, dict)
        others = replace(wanted, text=options.label_column)
        table = frame.select(place, others) if options.label_column in frame.names else None
        values = frame.values(text)
        labels = [None] * len(values) if table is None else _strings(table, wanted.label, place)
        groups = [] if table is None else _strings(table, wanted.group, place)
        return _Rows(place, part, labels, groups, values=values)
    read = tables.of_arrow(frame.select(place, wanted), Path(place), wanted)
    return _Rows(place, part, read.labels, read.groups, texts=read.text, notes=read.notes)


def _strings(table: Any, column: str | None, place: str) -> list[str | None]:
    return tables.strings_of(table, column, Path(place))


class _Rows:
    """The rows of one part of the data."""

    def __init__(
        self,
        place: str,
        part: str,
        labels: Sequence[str | None],
        groups: Sequence[str | None],
        *,
        values: Sequence[Any] = (),
        texts: tables.TextColumn | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.place, self.part, self.labels, self.groups = place, part, labels, groups
        self.values, self.texts, self.notes = values, texts, notes


def _joined(parts: Sequence[_Rows], modality: str, options: ReadOptions) -> Labelled:
    """The rows of all parts, end to end."""
    where = [one.part for one in parts for _ in one.labels]
    labels = by_value([label for one in parts for label in one.labels])
    groups = [group for one in parts for group in one.groups]
    notes = [note for one in parts for note in one.notes]
    if modality != "image":
        texts = tables.TextSamples([one.texts for one in parts if one.texts is not None])
        return Labelled(
            samples=texts,
            rows=range(len(texts)),
            parts=where,
            names=labels,
            groups=groups,
            notes=notes,
        )
    values = [value for one in parts for value in one.values]
    if not values:
        raise NotFoundError("the data has no rows", thing=PLACE, remedy="give samples")
    places = [f"{one.place}:{row + 1}" for one in parts for row in range(len(one.values))]
    pictures = Pictures(_names(values, places), values, options)
    whole = pictures.examine()
    return Labelled(
        samples=pictures,
        rows=whole,
        parts=[where[k] for k in whole],
        names=[labels[k] for k in whole],
        groups=[groups[k] for k in whole] if groups else (),
        notes=[*notes, *pictures.notes],
        white=pictures.white,
    )


def _names(values: Sequence[Any], places: Sequence[str]) -> list[str]:
    """What samples are called: files by their path below the folder that holds all of them, which
    tells nothing of this machine; others by their row."""
    paths = [os.path.abspath(one) if _is_file(one) else None for one in values]
    folders = {os.path.dirname(path) for path in paths if path is not None}
    root = os.path.commonpath(folders) if folders else ""
    return [
        place if path is None else Path(path).relative_to(root).as_posix()
        for path, place in zip(paths, places, strict=True)
    ]


def _is_file(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike)


def _items(inputs: Any, modality: str, options: ReadOptions) -> list[Any]:
    """The inputs one by one. A single text, path, picture or array is one input."""
    if isinstance(inputs, (str, bytes, os.PathLike)) or hasattr(inputs, "getbands"):
        return [inputs]
    if hasattr(inputs, "shape") and modality == "image" and len(inputs.shape) in (2, 3):
        if not hasattr(inputs, "columns"):
            return [inputs]
    if isinstance(inputs, tuple) and modality == "text" and _is_pair(inputs):
        return [inputs]
    frame = None if isinstance(inputs, (tuple, list)) else frame_of(inputs, modality)
    if frame is None:
        return list(inputs) if isinstance(inputs, Iterable) else [inputs]
    if modality == "image":
        taken = (options.label_column, options.group_column)
        return list(frame.values(images_in(frame, text=options.text_column, taken=taken)))
    return _texts_in(frame, options)


def _texts_in(frame: Frame, options: ReadOptions) -> list[Any]:
    wanted = Wanted(text=options.text_column)
    column = tables.of_arrow(frame.select(_NAME, wanted), Path(_NAME), wanted).text
    return [column[row] for row in range(len(column))]


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(one, str) for one in value)


class _Texts:
    """Texts, or pairs of them, with their number among the inputs."""

    def __init__(self, texts: Sequence[tuple[int, Any]]) -> None:
        self._numbers = [number for number, _ in texts]
        self._texts = [_text(number, text) for number, text in texts]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Any:
        return self._texts[index]

    def name_of(self, index: int) -> str:
        return f"text {self._numbers[index]}"


def _text(number: int, value: Any) -> Any:
    if isinstance(value, (str, TextPair)):
        return value
    if isinstance(value, (tuple, list)) and _is_pair(value):
        return TextPair(*value)
    raise DataError(
        f"input {number} is of type '{type(value).__name__}', and the model takes texts",
        thing=f"input {number}",
        remedy="give strings, pairs of strings, or a pathlib.Path of a file of texts",
    )
