"""Tables of texts: CSV, JSON lines, Parquet and Arrow, one text and label a row, verbatim."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.data import csv_files, table_files
from zooadapt.data.dataset import Labelled, ReadOptions
from zooadapt.data.layout import PARTS
from zooadapt.data.reading import changed, of_file
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

_READERS = {
    ".csv": csv_files.read_csv,
    ".tsv": csv_files.read_csv,
    ".jsonl": table_files.read_json_lines,
    ".ndjson": table_files.read_json_lines,
    ".parquet": table_files.read_parquet,
    ".arrow": table_files.read_arrow,
}
SUFFIXES = tuple(_READERS)
MAX_FIELD = csv_files.MAX_FIELD


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """Texts of one file, named by row. Where Arrow maps the file into memory instead of holding
    the texts, `mapped` is that file, and `stamp` what it looked like when it was opened."""

    name: str
    values: pa.ChunkedArray
    mapped: Path | None = None
    stamp: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, lines: Sequence[str]) -> TextColumn:
        """Texts that are in memory."""
        import pyarrow as pa

        return cls(name=name, values=pa.chunked_array([lines], pa.string()))


@dataclass(frozen=True, kw_only=True)
class Table:
    """The text column of a table and, where asked for, its labels as strings."""

    text: TextColumn
    labels: list[str | None]
    groups: list[str | None]
    notes: tuple[str, ...] = ()


class TextSamples:
    """Text columns of one or more tables, end to end; a missing text is an empty one."""

    def __init__(self, columns: Sequence[TextColumn]) -> None:
        self._columns = columns
        self._starts = [0]
        for column in columns:
            self._starts.append(self._starts[-1] + len(column.values))

    def __len__(self) -> int:
        return self._starts[-1]

    def name(self, index: int) -> str:
        column, row = self._find(index)
        return f"{column.name}:{row + 1}"

    def raw(self, index: int, *, min_side: int | None, channels: int) -> str:
        column, row = self._find(index)
        if column.mapped and _stamp(column.mapped) != column.stamp:
            raise changed(column.name)
        return column.values[row].as_py() or ""

    def digest(self, index: int) -> bytes:
        text = self.raw(index, min_side=None, channels=0)
        return hashlib.sha256(text.encode()).digest()

    def _find(self, index: int) -> tuple[TextColumn, int]:
        """Raises: IndexError for an index that no column holds."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        table = bisect_right(self._starts, index) - 1
        return self._columns[table], index - self._starts[table]


def read_tables(path: Path, options: ReadOptions) -> Labelled:
    """A labelled table, or a folder of `train.*` and `test.*` (or `val.*`).

    A part may come in numbered pieces, as in `train-00000-of-00002.parquet`.
    Raises: as `read`; DataError for a file that is no table or a folder without `train.*`.
    """
    columns, parts, names, groups, notes = [], [], [], [], []
    for part, file in _tables_of(path, options, notes):
        table = read(file, options=options, labelled=True)
        columns.append(table.text)
        parts += [part] * len(table.labels)
        names += table.labels
        groups += table.groups
        notes += table.notes
    samples = TextSamples(columns)
    return Labelled(
        samples=samples,
        rows=range(len(samples)),
        parts=parts,
        names=names,
        groups=groups,
        notes=notes,
    )


def read(path: Path, *, options: ReadOptions, labelled: bool) -> Table:
    """One table.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError for no rows;
    AccessError.
    """
    import pyarrow.compute as pc

    wanted = {"--text-column": options.text_column}
    if labelled:
        wanted["--label-column"] = options.label_column
        if options.group_column is not None:
            wanted["--group-column"] = options.group_column
    mapped = path.suffix.lower() == ".arrow"
    try:
        if not path.is_file():
            raise DataError(
                f"'{path.name}' is no regular file", thing=str(path), remedy="give a file"
            )
        stamp = _stamp(path)
        table = _READERS[path.suffix.lower()](path, options, wanted)
    except OSError as error:
        raise of_file(error, path.name) from error
    if table.num_rows == 0:
        raise NotFoundError(
            f"'{path.name}' has no rows",
            thing=path.name,
            remedy="give a file with data below its header",
        )
    text = _strings(table.column(options.text_column), path, options.text_column)
    lengths = pc.utf8_length(text)
    longest = pc.max(lengths).as_py() or 0
    if longest > MAX_FIELD:
        raise csv_files.too_long(path, pc.index(lengths, longest).as_py() + 1, f"{longest:,}")
    # Comparing with a Python number would import pandas, half a second.
    empty = len(text) - (pc.sum(lengths.cast("bool")).as_py() or 0)
    labels, groups = (
        _strings(table.column(wanted[option]), path, wanted[option]).to_pylist()
        if option in wanted
        else []
        for option in ("--label-column", "--group-column")
    )
    return Table(
        text=TextColumn(name=path.name, values=text, mapped=path if mapped else None, stamp=stamp),
        labels=labels,
        groups=groups,
        notes=(f"{empty} rows of {path.name} have an empty text",) if empty else (),
    )


def _tables_of(path: Path, options: ReadOptions, notes: list[str]) -> list[tuple[str, Path]]:
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return [("all", path)]
    if not path.is_dir():
        raise DataError(
            f"'{path.name}' is no table that is known here",
            thing=str(path),
            remedy=f"give one of {', '.join(SUFFIXES)}",
        )
    tree = Tree(path, options)
    chosen, kinds = [], {}
    for name in tree.top_files():
        stem, suffix = os.path.splitext(name)
        stem = re.sub(r"-\d+-of-\d+$", "", stem)
        part = PARTS.get(stem.lower())
        if part is None or suffix.lower() not in SUFFIXES:
            continue
        kind = f"{stem}{suffix}"
        if kinds.setdefault(part, kind) != kind:
            raise DataError(
                f"'{name}' of '{path.name}' means the same part as '{kinds[part]}'",
                thing=name,
                remedy="merge them or rename one",
            )
        chosen.append((part, path / name))
    if "train" not in kinds:
        raise DataError(
            f"folder '{path.name}' holds no train table, and the source takes text",
            thing=str(path),
            remedy="give train.csv and test.csv, or name a file",
        )
    notes += tree.notes()
    return chosen


def _strings(column: pa.ChunkedArray, path: Path, name: str) -> pa.ChunkedArray:
    """A column as strings; what is no number in a column of numbers is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.large_string())
    except pa.ArrowException as error:
        raise DataError(
            f"column '{name}' of '{path.name}' has type {column.type}, no text",
            thing=name,
            remedy="name another column",
        ) from error


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
