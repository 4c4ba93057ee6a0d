"""Data in memory, read like files: the same samples give the same model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from zooadapt.data import columns, modalities, opening, tables, windows
from zooadapt.data.assembly import assemble
from zooadapt.data.cells import CellSamples, Texts
from zooadapt.data.columns import Columns
from zooadapt.data.dataset import Dataset, LabelledRows, Split
from zooadapt.data.frames import (
    SAMPLES,
    SECOND,
    Frame,
    frame_of,
    samples_column,
    unsupported_data,
)
from zooadapt.data.labels import cells_of, strings_of
from zooadapt.data.layout import ALL, PARTS
from zooadapt.data.listing import Listing
from zooadapt.data.memory_samples import MemorySamples
from zooadapt.data.options import ReadOptions
from zooadapt.errors import DataError, NotFoundError
from zooadapt.family import TextPair
from zooadapt.family.modality import Modality
from zooadapt.tasks.cells import Cell

PLACE = "data in memory"
"""The location of a data set in memory."""
_NAME = "data"
_DEFAULTS = ReadOptions()


def is_location(data: Any) -> bool:
    """Whether this is a path or `hf:ID`, and no data itself."""
    return isinstance(data, (str, os.PathLike))


def dataset_of(
    data: Any, *, modality: str, options: ReadOptions = _DEFAULTS, seed: int = 0
) -> Dataset:
    """A labelled set in memory: a pair of lists (samples, labels), a pandas or Arrow table, a
    `datasets.Dataset`, or a mapping of `train`, `test` and `val` to these.

    Samples are texts, pairs of texts, paths or the content of files, or what the modality accepts:
    pictures of Pillow, arrays `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`.
    Raises: DataError naming the row, column or class at fault; UsageError for other data.
    """
    parts: dict[str, Any] = {ALL: data}
    if isinstance(data, Mapping) and data and all(str(n).lower() in PARTS for n in data):
        parts = dict(data)
    kind = modalities.named(modality)
    rows = [_part(name, part, kind, options) for name, part in parts.items()]
    labelled = _join(rows, kind, options)
    return assemble(labelled, location=PLACE, modality=modality, options=options, seed=seed)


def inputs_of(inputs: Any, *, modality: str, options: ReadOptions = _DEFAULTS) -> Split:
    """Samples to predict, in order. A string is a text for a model of texts, and a path for
    others; a `pathlib.Path` is always a path. A folder or a table stands for its samples.

    Raises: NotFoundError for a missing path, or no input; DataError for an input that is no
    sample.
    """
    kind = modalities.named(modality)
    values = _items(inputs, kind, options)
    notes: list[str] = []
    if not kind.in_cells:
        each: list[tuple[str, Any]] = []
        for number, value in enumerate(values, 1):
            if isinstance(value, (str, os.PathLike)):
                paths = opening.file_paths(os.fspath(value), kind, options, notes)
                each += [(path, Path(path)) for path in paths]
            else:
                each.append((f"{kind.noun} {number}", value))
        names = [name for name, _ in each]
        windows.check(kind, options)
        files = MemorySamples(names, [value for _, value in each], kind, options)
        samples: Any = files
        rows: Sequence[int] = files.examine()
        notes += files.notes
        if options.window is not None:
            samples = windows.windows_of(files, rows, options)
            rows = range(len(samples))
    else:
        texts: list[Texts] = []
        for is_path, group in groupby(enumerate(values, 1), lambda pair: _is_path(pair[1])):
            if is_path:
                paths = [os.fspath(path) for _, path in group]
                texts += [opening.texts_of(path, kind, options, notes) for path in paths]
            else:
                texts.append(_Values([(f"{kind.noun} {k}", one) for k, one in group], kind))
        samples = CellSamples(texts, kind)
        rows = range(len(samples))
    if not len(rows):
        raise NotFoundError("there is no input", thing="inputs", remedy="give one or more")
    return opening.unlabelled(samples, rows, modality=modality, notes=notes)


def _part(name: str, data: Any, modality: Modality, options: ReadOptions) -> _Rows:
    frame = frame_of(data, modality)
    if frame is None:
        raise unsupported_data(data)
    part = PARTS.get(str(name).lower(), ALL)
    place = _NAME if part == ALL else str(name)
    if SAMPLES in frame.names and SECOND in frame.names:
        options = replace(options, text_column=f"{SAMPLES},{SECOND}")
    text = _column(frame, modality, options)
    selection = Columns(
        text=text,
        modality=modality,
        labels=options.labels,
        group=options.group_column,
        may_lack_label=part not in ("train", ALL),
    )
    if not modality.is_language:
        # Arrow holds no pictures or sounds: only the labels become a table.
        selection.select(place, frame.names, dict)
        without_samples = replace(selection, text=options.labels[0])
        values = frame.values(text)
        if set(options.labels).isdisjoint(frame.names):
            return _Rows(place, part, [None] * len(values), [], values=values)
        table = frame.select(place, without_samples)
        labels = cells_of(table, selection.labels, Path(place))
        groups = strings_of(table, selection.group, Path(place))
        return _Rows(place, part, labels, groups, values=values)
    read = tables.of_arrow(frame.select(place, selection), Path(place), selection)
    return _Rows(place, part, read.labels, read.groups, texts=read.text, notes=read.notes)


class _Rows:
    """The rows of one part of the data."""

    def __init__(
        self,
        place: str,
        part: str,
        labels: Sequence[Cell],
        groups: Sequence[str | None],
        *,
        values: Sequence[Any] = (),
        texts: tables.TextColumn | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.place, self.part, self.labels, self.groups = place, part, labels, groups
        self.values, self.texts, self.notes = values, texts, notes

    def cells(self, modality: Modality) -> Texts:
        """The samples of cells."""
        if self.texts is not None:
            return self.texts
        pairs = [(f"{self.place}:{row + 1}", value) for row, value in enumerate(self.values)]
        return _Values(pairs, modality)


def _join(rows: Sequence[_Rows], modality: Modality, options: ReadOptions) -> LabelledRows:
    """The rows of all parts, end to end."""
    parts = [one.part for one in rows for _ in one.labels]
    labels = [label for one in rows for label in one.labels]
    groups = [group for one in rows for group in one.groups]
    notes = [note for one in rows for note in one.notes]
    if modality.in_cells:
        texts = CellSamples([one.cells(modality) for one in rows], modality)
        return LabelledRows(
            samples=texts,
            rows=range(len(texts)),
            parts=parts,
            names=labels,
            columns=options.labels,
            groups=groups,
            notes=notes,
        )
    values = [value for one in rows for value in one.values]
    if not values:
        raise NotFoundError("the data has no rows", thing=PLACE, remedy="give samples")
    places = [f"{one.place}:{row + 1}" for one in rows for row in range(len(one.values))]
    windows.check(modality, options)
    names = _names(values, places)
    samples = MemorySamples(names, values, modality, options)
    intact = samples.examine()
    if options.window is not None:
        listing = Listing(paths=names, parts=parts, labels=labels, groups=groups, notes=notes)
        position = {name: k for k, name in enumerate(names)}
        return windows.cut(samples, position, intact, listing, options)
    return LabelledRows(
        samples=samples,
        rows=intact,
        parts=[parts[k] for k in intact],
        names=[labels[k] for k in intact],
        columns=options.labels,
        groups=[groups[k] for k in intact] if groups else (),
        notes=[*notes, *samples.notes],
        white=samples.white,
    )


def _names(values: Sequence[Any], places: Sequence[str]) -> list[str]:
    """The names of samples: files by their path below their common folder, which reveals nothing of
    this computer; others by their row."""
    paths = [os.path.abspath(value) if is_location(value) else None for value in values]
    folders = {os.path.dirname(path) for path in paths if path is not None}
    root = os.path.commonpath(folders) if folders else ""
    return [
        place if path is None else Path(path).relative_to(root).as_posix()
        for path, place in zip(paths, places, strict=True)
    ]


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike)


def _items(inputs: Any, modality: Modality, options: ReadOptions) -> list[Any]:
    """The inputs one by one. A single text, path or sample is one input."""
    if isinstance(inputs, (str, bytes, os.PathLike)) or modality.is_single(inputs):
        return [inputs]
    if isinstance(inputs, tuple) and modality.is_language and _is_pair(inputs):
        return [inputs]
    frame = None if isinstance(inputs, (tuple, list)) else frame_of(inputs, modality)
    if frame is None:
        return list(inputs) if isinstance(inputs, Iterable) else [inputs]
    selection = Columns(text=_column(frame, modality, options), modality=modality)
    if not modality.is_language:
        selection.select(_NAME, frame.names, dict)
        return list(frame.values(selection.text))
    column = tables.of_arrow(frame.select(_NAME, selection), Path(_NAME), selection).text
    return [column[row] for row in range(len(column))]


def _column(frame: Frame, modality: Modality, options: ReadOptions) -> str:
    if modality.is_language or (modality.in_cells and modality.name in frame.names):
        return columns.samples_column(modality, options)
    return samples_column(frame, modality, options)


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(one, str) for one in value)


class _Values:
    """Texts, pairs of them or other samples, by name."""

    def __init__(self, pairs: Sequence[tuple[str, Any]], modality: Modality) -> None:
        self._names = [name for name, _ in pairs]
        self._values = [_value(name, value, modality) for name, value in pairs]

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index]

    def name_of(self, index: int) -> str:
        return self._names[index]


def _value(name: str, value: Any, modality: Modality) -> Any:
    if isinstance(value, str):
        return value
    if modality.is_language and isinstance(value, (tuple, list)) and _is_pair(value):
        return TextPair(*value)
    if not modality.is_language:
        return modality.of_value(value, name=name)
    raise DataError(
        f"{name} is of type '{type(value).__name__}', and the model takes {modality.plural}",
        thing=name,
        remedy="give strings, pairs of strings, or a pathlib.Path of a file of texts",
    )
