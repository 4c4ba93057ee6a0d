"""JSON lines, Parquet and Arrow files: the columns asked for, as an Arrow table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.data.csv_files import check_columns
from zooadapt.data.dataset import ReadOptions
from zooadapt.data.reading import lines_of, read_text
from zooadapt.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def read_json_lines(path: Path, options: ReadOptions, wanted: Mapping[str, str]) -> pa.Table:
    """The wanted columns (option to column name) of a file with one JSON object a line; numbers and
    truth values are spelled as in the file's JSON, null and NaN are missing.

    Raises: DataError naming the line; AccessError.
    """
    import pyarrow as pa

    names: dict[str, None] = {}
    columns: dict[str, list[str | None]] = {column: [] for column in wanted.values()}
    for number, line in enumerate(lines_of(read_text(path, options.encoding)), 1):
        if not line.strip():
            continue
        row = _object(path, number, line)
        names.update(dict.fromkeys(row))
        for column, values in columns.items():
            values.append(_text(path, number, column, row.get(column)))
    if names:
        check_columns(path, list(names), wanted)
    return pa.table({name: pa.array(v, pa.large_string()) for name, v in columns.items()})


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", None) or str(error)
        raise _bad_line(path, number, f"is no JSON: {why}") from error
    if not isinstance(row, dict):
        raise _bad_line(path, number, "is no JSON object")
    return row


def _text(path: Path, number: int, column: str, value: Any) -> str | None:
    if isinstance(value, (dict, list)):
        raise _bad_line(path, number, f"has a {type(value).__name__}, no text, in '{column}'")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _bad_line(path, number, f"has half of a surrogate pair in '{column}'") from error
    return text


def _bad_line(path: Path, number: int, what: str) -> DataError:
    return DataError(
        f"line {number} of '{path.name}' {what}",
        thing=path.name,
        remedy="write one JSON object to a line",
    )


def read_parquet(path: Path, options: ReadOptions, wanted: Mapping[str, str]) -> pa.Table:
    """The wanted columns (option to column name), in memory; no other column is read.

    Raises: DataError for what is no Parquet file or lacks a column; OSError as the system says.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with path.open("rb") as file:
        try:
            opened = parquet.ParquetFile(file)
            check_columns(path, opened.schema_arrow.names, wanted)
            return opened.read(columns=list(dict.fromkeys(wanted.values())))
        except (pa.ArrowException, OSError) as error:
            raise _no(path, "Parquet", error) from error


def read_arrow(path: Path, options: ReadOptions, wanted: Mapping[str, str]) -> pa.Table:
    """The wanted columns (option to column name) of an Arrow file or stream, mapped into memory.

    Raises: as `read_parquet`.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    try:
        source = pa.memory_map(str(path))
        opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        check_columns(path, opened.schema.names, wanted)
        table = opened.read_all().select(list(dict.fromkeys(wanted.values())))
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError) as error:
        raise _no(path, "Arrow", error) from error


def _no(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(
        f"'{path.name}' is no whole {kind} file: {(str(error).splitlines() or ['?'])[0][:200]}",
        thing=path.name,
        remedy="write it again",
    )
