"""The columns of labels and groups of a table, and the names of classes in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError
from zooadapt.tasks.cells import Cell, lacks, spelled

if TYPE_CHECKING:
    import pyarrow as pa


def cells_of(table: pa.Table, columns: Sequence[str], path: Path) -> list[Cell]:
    """The label of each row: a string, a list's entries, or the strings of several columns, where
    None stands for an empty one; None for each row of a table that lacks the columns.

    Raises: as `strings_of`; DataError for a list of something else than names or numbers.
    """
    if not columns:
        return []
    if set(columns).isdisjoint(table.column_names):
        return [None] * table.num_rows
    if len(columns) > 1:
        each = [strings_of(table, column, path) for column in columns]
        return [
            tuple(None if lacks(one) else one for one in row) for row in zip(*each, strict=True)
        ]
    if _is_list(table.column(columns[0]).type):
        return _lists(table, columns[0], path)
    return [*strings_of(table, columns[0], path)]


def strings_of(table: pa.Table, column: str | None, path: Path) -> list[str | None]:
    """The labels or groups in a column, as strings; empty without a column, and None for each row
    of a table that lacks it.

    Raises: DataError for a column of another type, or a number without a name in the metadata.
    """
    if column is None:
        return []
    if column not in table.column_names:
        return [None] * table.num_rows
    values: list[str | None] = strings(table.column(column), path, column).to_pylist()
    names = class_names(table.schema.metadata, column)
    return values if names is None else _named(values, names, path, column)


def _named(
    values: Sequence[str | None], names: Sequence[str], path: Path, column: str
) -> list[str | None]:
    """The names that numbers stand for; -1 is a missing label."""
    numbers = {str(k): name for k, name in enumerate(names)}
    unknown = {value for value in values if value not in (None, "-1")} - set(numbers)
    if unknown:
        raise DataError(
            f"'{path.name}' has a label {min(unknown)}, and its metadata names {len(names)} of "
            f"'{column}'",
            thing=column,
            remedy="write the file again with the library that made it",
        )
    return [None if value is None else numbers.get(value) for value in values]


def _lists(table: pa.Table, column: str, path: Path) -> list[Cell]:
    names = class_names(table.schema.metadata, column)
    cells: list[Cell] = []
    for row, values in enumerate(table.column(column).to_pylist(), 1):
        other = next((v for v in values or () if isinstance(v, (list, dict, bytes))), None)
        if other is not None:
            raise DataError(
                f"'{path.name}:{row}' has a list of {type(other).__name__} in '{column}', and "
                "labels are names or numbers",
                thing=column,
                remedy="name another column",
            )
        entries = [spelled(value) for value in values or ()]
        if names is not None:
            entries = _named(entries, names, path, column)
        cells.append(None if values is None else tuple(entries))
    return cells


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """The class names of a `ClassLabel` column, or of a column of lists of them, whose labels the
    `datasets` library writes as numbers; None where the file's metadata has none."""
    try:
        stored = json.loads((metadata or {}).get(b"huggingface", b""))
    except (ValueError, RecursionError):
        return None
    names: Any = stored
    for key in ("info", "features", column):
        names = names.get(key) if isinstance(names, dict) else None
    if isinstance(names, list) and len(names) == 1:  # as older versions write a list
        names = names[0]
    for key in ("feature", "names"):
        names = names.get(key, names) if isinstance(names, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names


def strings(column: pa.ChunkedArray, path: Path, name: str) -> pa.ChunkedArray:
    """A column as strings; NaN in a column of numbers is missing.

    Raises: DataError for a column of another type.
    """
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
