"""JSON, Parquet and Arrow files: the selected columns as an Arrow table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.data.columns import Columns
from zooadapt.data.dialects import ROWS
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import lines_of, read_text
from zooadapt.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def read_json(path: Path, options: ReadOptions, selection: Columns, notes: list[str]) -> pa.Table:
    """The selected columns of a file with one JSON object a line, or of one array of objects.
    Numbers and truth values are spelled as in JSON; null and NaN are missing. A label may be a
    list.

    Raises: DataError naming the line or the row; AccessError.
    """
    import pyarrow as pa

    text = read_text(path, options.encoding, notes)
    names: dict[str, None] = {}
    columns: dict[str, list[Any]] = {column: [] for column in selection.candidates()}
    listed: dict[str, bool] = {}
    first: list[dict[str, Any]] = []
    for where, row in _array(path, text) if text.lstrip()[:1] == "[" else _lines(path, text):
        names.update(dict.fromkeys(row))
        for column, values in columns.items():
            value = row.get(column)
            if column in selection.labels and value is not None:
                is_list = isinstance(value, list)
                if listed.setdefault(column, is_list) != is_list:
                    raise _mixed(path, where, column, is_list)
            values.append(_cell(path, where, column, value, may_list=column in listed))
        if len(first) < ROWS:
            first.append(row)
    chosen = selection.select(path.name, list(names), lambda: _peek(first)) if names else [*columns]
    text = pa.large_string()
    kinds = {name: pa.list_(text) if listed.get(name) else text for name in chosen}
    return pa.table({name: pa.array(columns[name], kinds[name]) for name in chosen})


def _lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            where = f"line {number}"
            yield where, _object(path, where, _parsed(path, where, line))


def _array(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of an array; text that is no JSON is read as lines, for an error that names one."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        yield from _lines(path, text)
        rows = []
    for number, row in enumerate(rows, 1):
        where = f"row {number}"
        yield where, _object(path, where, row)


def _parsed(path: Path, where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", None) or str(error)
        raise _bad(path, where, f"is no JSON: {why}") from error


def _object(path: Path, where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _bad(path, where, "is no JSON object")
    return row


def _peek(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: [v if isinstance(v := row.get(name), str) else json.dumps(v) for row in rows]
        for name in names
    }


def _cell(
    path: Path, where: str, column: str, value: Any, *, may_list: bool
) -> str | list[str | None] | None:
    if may_list and isinstance(value, list):
        return [_text(path, where, column, entry) for entry in value]
    return _text(path, where, column, value)


def _text(path: Path, where: str, column: str, value: Any) -> str | None:
    if isinstance(value, (dict, list)):
        raise _bad(path, where, f"has a {type(value).__name__}, no text, in '{column}'")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _bad(path, where, f"has half of a surrogate pair in '{column}'") from error
    return text


def _mixed(path: Path, where: str, column: str, is_list: bool) -> DataError:
    here, above = ("a list", "none") if is_list else ("no list", "lists")
    return DataError(
        f"{where} of '{path.name}' has {here} in '{column}', and the rows above it have {above}",
        thing=column,
        remedy="write a list in every row, [] where there is no label",
    )


def _bad(path: Path, where: str, what: str) -> DataError:
    return DataError(
        f"{where} of '{path.name}' {what}",
        thing=path.name,
        remedy="write one JSON object to a line, or an array of them",
    )


def read_parquet(
    path: Path, options: ReadOptions, selection: Columns, notes: list[str]
) -> pa.Table:
    """The selected columns, in memory; no other column is read.

    Raises: DataError for a file that is no Parquet or lacks a column; OSError.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with path.open("rb") as file:
        try:
            opened = parquet.ParquetFile(file)
            columns = selection.select(
                path.name,
                opened.schema_arrow.names,
                lambda: _strings_of(next(opened.iter_batches(batch_size=ROWS), None)),
            )
            return opened.read(columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, "Parquet", error) from error


def read_arrow(path: Path, options: ReadOptions, selection: Columns, notes: list[str]) -> pa.Table:
    """The selected columns of an Arrow file or stream, mapped into memory.

    Raises: as `read_parquet`.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    try:
        source = pa.memory_map(str(path))
        opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        table = opened.read_all()
        table = select(table, path.name, selection)
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Arrow", error) from error


def select(table: pa.Table, name: str, selection: Columns) -> pa.Table:
    """The selected columns of a table in memory.

    Raises: as `Columns.select`.
    """
    return table.select(
        selection.select(name, table.schema.names, lambda: _strings_of(table.slice(0, ROWS)))
    )


def _strings_of(rows: pa.RecordBatch | pa.Table | None) -> dict[str, list[str | None]]:
    """The values of a few rows as strings, without columns of other types."""
    import pyarrow as pa

    values: dict[str, list[str | None]] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True) if rows else ():
        try:
            values[name] = column.cast(pa.large_string()).to_pylist()
        except pa.ArrowException:
            continue
    return values


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(
        f"'{path.name}' is no whole {kind} file: {(str(error).splitlines() or ['?'])[0][:200]}",
        thing=path.name,
        remedy="write it again",
    )
