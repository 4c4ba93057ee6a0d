"""`hf:ID` data sets through the `datasets` library, imported only here and only then."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from zooadapt.data import depth
from zooadapt.data.columns import Columns, samples_column
from zooadapt.data.dataset import LabelledRows, digest_of
from zooadapt.data.dialects import ROWS
from zooadapt.data.labels import cells_of
from zooadapt.data.layout import PARTS
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import read_bytes
from zooadapt.errors import (
    AccessError,
    DataError,
    NotFoundError,
    UnavailableError,
    UsageError,
    ZooadaptError,
)
from zooadapt.family import TextPair
from zooadapt.family.modality import Examined, Modality, View
from zooadapt.tasks.cells import Cell


class HubSamples:
    """Rows of one or more splits of a Hub data set, end to end; Arrow keeps them on disk."""

    def __init__(
        self,
        splits: Sequence[tuple[str, Any]],
        columns: Sequence[str],
        modality: Modality,
        options: ReadOptions,
        *,
        places: Sequence[Path] = (),
    ) -> None:
        """columns: that of the samples, or the two of pairs of texts; places: the folders that may
        contain the files."""
        self._splits, self._columns = splits, columns
        self._modality, self._options = modality, options
        self._places = places
        self._examined: list[Examined] = []
        self.white: int | None = None
        """The white value of 16-bit images; None where there are none."""

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._splits)

    def name(self, index: int) -> str:
        name, _, row = self._find(index)
        return f"{name}:{row + 1}"

    def raw(self, index: int, view: View) -> Any:
        if self._modality.is_language:
            return self._text(index)
        return self._modality.decode(
            io.BytesIO(self._content(index)),
            name=self.name(index),
            view=replace(view, white=self.white),
            limits=self._options.limits,
        )

    def window(self, index: int) -> None:
        return None

    def size(self, index: int) -> tuple[int, int]:
        return self._examined[index].size if self._examined else (0, 0)

    def digest(self, index: int) -> bytes:
        if self._modality.in_cells:
            return digest_of(self._modality, self.raw(index, View()))
        content = hashlib.sha256(self._content(index)).digest()
        is_wide = self._examined[index].white > 0
        return depth.wide_digest(content, self.white) if is_wide else content

    def examine(self) -> tuple[str, ...]:
        """Find the white value of 16-bit images; a note, if there are any."""
        with ThreadPoolExecutor() as pool:
            self._examined = list(pool.map(self._examine, range(len(self))))
        whites = [info.white for info in self._examined]
        self.white, notes = depth.common_white(whites, self._options.white)
        return notes

    def _examine(self, index: int) -> Examined:
        return self._modality.examine(
            io.BytesIO(self._content(index)),
            name=self.name(index),
            limits=self._options.limits,
            thoroughly=False,
        )

    def _text(self, index: int) -> str:
        _, rows, row = self._find(index)
        values = (rows[row][column] for column in self._columns)
        first, *second = ("" if value is None else str(value) for value in values)
        return TextPair(first, second[0]) if second else first

    def _content(self, index: int) -> bytes:
        """The content of a sample's file, or of its cell."""
        if self._modality.in_cells:
            return self._text(index).encode()
        _, rows, row = self._find(index)
        value = rows[row][self._columns[0]] or {}
        stored: bytes | None = value.get("bytes")
        path = value.get("path")
        if stored is not None:
            return stored
        name = self.name(index)
        if not path:
            raise DataError(
                f"'{name}' has no {self._modality.noun}",
                thing=name,
                remedy="leave such rows out of the data set",
            )
        # A row can name any file of this computer.
        real = os.path.realpath(path)
        if not any(Path(real).is_relative_to(place) for place in self._places):
            raise DataError(
                f"'{name}' is the file '{path}', which is no file of the data set",
                thing=name,
                remedy="leave such rows out of the data set",
            )
        return read_bytes(Path(real), name=path)

    def _find(self, index: int) -> tuple[str, Any, int]:
        for name, rows in self._splits:
            if index < len(rows):
                return name, rows, index
            index -= len(rows)
        raise IndexError(index)


def read_hub_set(
    location: str, *, modality: Modality, options: ReadOptions, offline: bool = False
) -> LabelledRows:
    """The labelled rows of `hf:ID` or `hf:ID:CONFIG`; `offline` opens no connection and reads what
    was downloaded before.

    Raises: UsageError without the `datasets` library; NotFoundError for a set that does not exist;
    AccessError for a gated one; UnavailableError where the Hub does not answer; DataError for one
    that cannot be read, or whose columns are missing or have no text.
    """
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "Hub data sets need the 'datasets' library",
            thing="datasets",
            remedy="pip install 'zooadapt[hub]'",
        ) from error
    name, _, config = location.removeprefix("hf:").partition(":")
    if not name:
        raise UsageError(f"'{location}' names no data set", thing=location, remedy="hf:ORG/NAME")
    try:
        with _connected(not offline):
            loaded = datasets.load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise _failed(error, name, offline) from error
    chosen = [(PARTS[split.lower()], split) for split in loaded if split.lower() in PARTS]
    if not any(part == "train" for part, _ in chosen):
        raise DataError(
            f"'{name}' has no train split, its splits are {', '.join(loaded)}",
            thing=name,
            remedy="use a data set with a train split",
        )
    first = loaded[chosen[0][1]]
    column = _column(first, modality, options)
    grouped = options.group_column
    selection = Columns(
        text=column,
        modality=modality,
        labels=options.labels,
        group=grouped,
    )
    selection.select(name, first.column_names, lambda: _peek(first))
    columns = selection.texts(first.column_names)
    for column in columns if modality.in_cells else ():
        if not isinstance(first.features[column], datasets.Value):
            raise DataError(
                f"column '{column}' of '{name}' holds no {modality.noun}",
                thing=column,
                remedy=f"{selection.option} NAME",
            )
    parts: list[str] = []
    names: list[Cell] = []
    groups: list[str | None] = []
    splits = []
    for part, split in chosen:
        rows = loaded[split]
        labelled = rows.select_columns([*options.labels]).with_format("arrow")[:]
        names += cells_of(labelled, options.labels, Path(f"{name}:{split}"))
        parts += [part] * len(rows)
        if grouped is not None:
            groups += [None if value is None else str(value) for value in rows[grouped]]
        if not modality.in_cells:
            feature = getattr(datasets, modality.feature or "Image")
            rows = rows.cast_column(columns[0], feature(decode=False))
        splits.append((split, rows))
    samples = HubSamples(splits, columns, modality, options, places=_places(datasets.config, name))
    notes = () if modality.in_cells else samples.examine()
    return LabelledRows(
        samples=samples,
        rows=range(len(samples)),
        parts=parts,
        names=names,
        columns=options.labels,
        groups=groups,
        notes=notes,
        white=samples.white,
    )


def _column(rows: Any, modality: Modality, options: ReadOptions) -> str:
    """The column of samples: the one that the options name, else the text column if there is one,
    else the first of the modality's feature."""
    named: str | None = getattr(options, modality.column)
    if modality.in_cells or named is not None:
        return samples_column(modality, options)
    usual = options.text_column
    kinds = () if usual in rows.column_names else rows.features.items()
    return next((name for name, kind in kinds if type(kind).__name__ == modality.feature), usual)


def _peek(rows: Any) -> dict[str, list[str | None]]:
    """The first values of the columns of strings and numbers."""
    plain = [name for name, kind in rows.features.items()
             if type(kind).__name__ in ("Value", "ClassLabel")]  # fmt: skip
    values = rows.select_columns(plain)[:ROWS]
    return {
        name: [None if value is None else str(value) for value in column]
        for name, column in values.items()
    }


@contextmanager
def _connected(allowed: bool) -> Iterator[None]:
    """Both libraries read at their import whether they are offline, and store it in a switch."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if not allowed:
        config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _failed(error: Exception, name: str, offline: bool) -> ZooadaptError:
    """The error of `datasets` for a set that it cannot load, as one of this package."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
    message = f"data set '{name}' could not be loaded: {reason}"
    if isinstance(error, DatasetNotFoundError):
        # A gated set has the same class as one that does not exist, and no cause.
        if "is a gated dataset" in reason:
            return AccessError(
                message, thing=name, remedy="ask for access there, then hf auth login"
            )
        return NotFoundError(
            message, thing=name, remedy="check its name, or hf auth login if it is private"
        )
    if offline:
        return UnavailableError(message, thing=name, remedy="load it once with a connection")
    if type(error) is FileNotFoundError and "LocalEntryNotFoundError" not in str(error):
        return NotFoundError(message, thing=name, remedy="check its name")
    if isinstance(error, (DatasetsError, ValueError, RuntimeError)):
        return DataError(message, thing=name, remedy="choose another data set, or hf:ID:CONFIG")
    return UnavailableError(message, thing=name, remedy="check its name and your connection")


def _places(config: Any, name: str) -> list[Path]:
    """Folders with the files of a data set: the caches, and its own if it is a folder."""
    from huggingface_hub import constants

    caches = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH,
              config.EXTRACTED_DATASETS_PATH, constants.HF_HUB_CACHE)  # fmt: skip
    own = [name] if os.path.isdir(name) else []
    return [Path(os.path.realpath(place)) for place in (*caches, *own)]
