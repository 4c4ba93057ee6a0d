"""The columns of labels and groups of a table, and the names of classes in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


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
    if names is None:
        return values
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


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """The class names of a `ClassLabel` column, whose labels the `datasets` library writes as
    numbers; None where the file's metadata has none."""
    try:
        stored = json.loads((metadata or {}).get(b"huggingface", b""))
    except (ValueError, RecursionError):
        return None
    names: Any = stored
    for key in ("info", "features", column, "names"):
        names = names.get(key) if isinstance(names, dict) else None
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
