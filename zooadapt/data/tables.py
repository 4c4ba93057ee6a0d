"""Tables of texts: CSV, JSON, Parquet and Arrow, one text (or a pair) and label a row, verbatim."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zooadapt.data import csv_files, table_files
from zooadapt.data.cells import CellSamples
from zooadapt.data.columns import Columns, samples_column
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.labels import cells_of, strings, strings_of
from zooadapt.data.layout import PARTS
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import GZIP, changed_error, file_error
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, NotFoundError
from zooadapt.family import TextPair
from zooadapt.family.modality import Modality
from zooadapt.runtime.wording import counted
from zooadapt.tasks.cells import Cell

if TYPE_CHECKING:
    import pyarrow as pa

_READERS = {
    ".csv": csv_files.read_csv,
    ".tsv": csv_files.read_csv,
    ".jsonl": table_files.read_json,
    ".ndjson": table_files.read_json,
    ".json": table_files.read_json,
    ".parquet": table_files.read_parquet,
    ".arrow": table_files.read_arrow,
}
SUFFIXES = tuple(_READERS)
MAX_FIELD = csv_files.MAX_FIELD
_NUMBERED = re.compile(r"-\d+-of-\d+(?=\.)")


def kind_of(path: Path) -> str:
    """The suffix of a file's format, in lower case, without `.gz`."""
    name = path.name.lower()
    return PurePath(name.removesuffix(GZIP)).suffix


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """Texts of one file, named by row. `mapped` is the file that Arrow maps into memory, if it
    does, and `stamp` identifies its state when it was opened."""

    name: str
    values: tuple[pa.ChunkedArray, ...]
    """One column, or two whose texts make pairs."""
    mapped: Path | None = None
    stamp: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, lines: Sequence[str]) -> TextColumn:
        """Texts in memory."""
        import pyarrow as pa

        return cls(name=name, values=(pa.chunked_array([lines], pa.string()),))

    def __len__(self) -> int:
        return len(self.values[0])

    def name_of(self, row: int) -> str:
        """The file's name and the row, from 1."""
        return f"{self.name}:{row + 1}"

    def __getitem__(self, row: int) -> str:
        """A missing text is empty. Raises: DataError for a mapped file that changed."""
        if self.mapped and _stamp(self.mapped) != self.stamp:
            raise changed_error(self.name)
        first, *second = (values[row].as_py() or "" for values in self.values)
        return TextPair(first, second[0]) if second else first


@dataclass(frozen=True, kw_only=True)
class Table:
    """The texts of a table, and its labels and groups if their columns were selected."""

    text: TextColumn
    labels: list[Cell]
    groups: list[str | None]
    notes: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    """The seconds of a recording that each row is about; empty without such columns."""


def read_tables(
    path: Path, modality: Modality, options: ReadOptions, *, may_lack_labels: bool = False
) -> LabelledRows:
    """A labelled table, or a folder of `train.*` and `test.*` (or `val.*`).

    A part may come in numbered pieces, as in `train-00000-of-00002.parquet`. The label column may
    be missing in a validation or test part, and with `may_lack_labels` in every part.
    Raises: as `read`; DataError for a file that is no table or a folder without `train.*`.
    """
    columns, parts, names, groups = [], [], [], []
    notes: list[str] = []
    for part, file in tables_of(path, modality, options, notes):
        needs = part in ("train", "all") and not may_lack_labels
        table = read(file, modality, options=options, labelled=True, may_lack_labels=not needs)
        columns.append(table.text)
        parts += [part] * len(table.labels)
        names += table.labels
        groups += table.groups
        notes += table.notes
    samples = CellSamples(columns, modality)
    return LabelledRows(
        samples=samples,
        rows=range(len(samples)),
        parts=parts,
        names=names,
        columns=options.labels,
        groups=groups,
        notes=notes,
    )


def read(
    path: Path,
    modality: Modality,
    *,
    options: ReadOptions,
    labelled: bool,
    may_lack_labels: bool = False,
) -> Table:
    """One table; with `may_lack_labels`, labels and groups are None for missing columns.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError for no rows;
    AccessError.
    """
    selection = Columns(
        text=samples_column(modality, options),
        modality=modality,
        labels=options.labels if labelled else (),
        group=options.group_column if labelled else None,
        may_lack_label=may_lack_labels,
    )
    return read_columns(path, selection, options)


def read_columns(path: Path, selection: Columns, options: ReadOptions) -> Table:
    """The selected columns of one table.

    Raises: as `read`.
    """
    kind = kind_of(path)
    notes: list[str] = []
    try:
        if not path.is_file():
            raise DataError(
                f"'{path.name}' is no regular file", thing=str(path), remedy="give a file"
            )
        stamp = _stamp(path)
        table = _READERS[kind](path, options, selection, notes)
    except OSError as error:
        raise file_error(error, path.name) from error
    mapped = path if kind == ".arrow" else None
    return of_arrow(table, path, selection, notes, mapped=mapped, stamp=stamp)


def of_arrow(
    table: pa.Table,
    path: Path,
    selection: Columns,
    notes: Sequence[str] = (),
    *,
    mapped: Path | None = None,
    stamp: tuple[int, ...] = (),
) -> Table:
    """The texts, labels and groups of a table of selected columns. Messages use the name of `path`,
    which need not exist.

    Raises: DataError naming the row or column at fault; NotFoundError for no rows.
    """
    import pyarrow.compute as pc

    notes = list(notes)
    if table.num_rows == 0:
        raise NotFoundError(
            f"'{path.name}' has no rows",
            thing=path.name,
            remedy="give a file with data below its header",
        )
    texts = selection.texts(table.column_names)
    values = tuple(strings(table.column(name), path, name) for name in texts)
    for column in values:
        lengths = pc.utf8_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > MAX_FIELD:
            raise csv_files.too_long(path, pc.index(lengths, longest).as_py() + 1, f"{longest:,}")
        # Comparing with a Python number would import pandas, half a second.
        empty = len(column) - (pc.sum(lengths.cast("bool")).as_py() or 0)
        if empty:
            rows = counted(empty, f"row of {path.name} has", f"rows of {path.name} have")
            notes.append(f"{rows} an empty text")
    labels = cells_of(table, selection.labels, path)
    groups = strings_of(table, selection.group, path)
    return Table(
        text=TextColumn(name=path.name, values=values, mapped=mapped, stamp=stamp),
        labels=labels,
        groups=groups,
        notes=tuple(notes),
        spans=tuple(
            zip(
                _seconds(table, selection.start, path),
                _seconds(table, selection.end, path),
                strict=True,
            )
        ),
    )


def _seconds(table: pa.Table, column: str | None, path: Path) -> list[float]:
    """Raises: DataError naming the first row that has no number of seconds."""
    seconds = []
    for row, value in enumerate(strings_of(table, column, path), 1):
        try:
            second = float((value or "").replace(",", "."))
        except ValueError:
            second = math.nan
        if not 0 <= second < math.inf:
            raise DataError(
                f"row {row} of '{path.name}' has '{value or ''}' in '{column}', which is no number "
                "of seconds",
                thing=str(column),
                remedy="correct the row or remove it",
            )
        seconds.append(second)
    return seconds


def has_train_table(tree: Tree) -> bool:
    """Whether a folder contains a table named as a training part."""
    return any(PARTS.get(stem_of(name)) == "train" for name in tree.files_in(Path()))


def stem_of(name: str) -> str:
    """The name of a table in lower case, without its suffix and the number of its piece; empty for
    other files."""
    suffix = kind_of(Path(name))
    stem = _NUMBERED.sub("", name.lower()).removesuffix(GZIP).removesuffix(suffix)
    return stem if suffix in SUFFIXES else ""


def tables_of(
    path: Path, modality: Modality, options: ReadOptions, notes: list[str]
) -> list[tuple[str, Path]]:
    """A table, or the tables of a folder, each with its part.

    Raises: DataError for a file that is no table, two tables of one part, or no `train.*`.
    """
    if kind_of(path) in SUFFIXES and not path.is_dir():
        return [("all", path)]
    if not path.is_dir():
        raise DataError(
            f"'{path.name}' is no table in a known format",
            thing=str(path),
            remedy=f"give one of {', '.join(SUFFIXES)}, or one of them with {GZIP}",
        )
    tree = Tree(path, modality, options)
    names = tree.files_in(Path())
    chosen = [(part, Path(name)) for name in names if (part := PARTS.get(stem_of(name)))]
    refuse_twins(chosen, path.name)
    if not any(part == "train" for part, _ in chosen):
        raise DataError(
            f"folder '{path.name}' holds no train table, and the model takes {modality.plural}",
            thing=str(path),
            remedy="give train.csv and test.csv, a file, or a folder of .txt files for each class",
        )
    notes += tree.notes()
    return [(part, path / file) for part, file in chosen]


def refuse_twins(files: Sequence[tuple[str, Path]], folder: str) -> None:
    """Raises: DataError for two tables of one part that are no pieces of one."""
    kinds: dict[str, str] = {}
    for part, file in files:
        name = file.as_posix()
        kind = _NUMBERED.sub("", name)
        if kinds.setdefault(part, kind) != kind:
            raise DataError(
                f"'{name}' of '{folder}' means the same part as '{kinds[part]}'",
                thing=name,
                remedy="merge them or rename one",
            )


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
