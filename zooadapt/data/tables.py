"""CSV, JSON lines and Parquet through Arrow: a text and a label for each row, verbatim."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.data.dataset import ReadOptions
from zooadapt.errors import DataError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
MAX_FIELD = 1_000_000
"""Characters a text may have; longer ones are a missing quote or the wrong file."""


class TextSamples:
    """Text columns of one or more tables, end to end. Arrow holds them; Parquet and Arrow files
    stay memory-mapped, a CSV or JSON-lines file is read into memory."""

    def __init__(self, columns: Sequence[tuple[str, pa.ChunkedArray]]) -> None:
        """columns: (table's name, its text column)."""
        self._columns = columns
        self._starts = [0]
        for _, column in columns:
            self._starts.append(self._starts[-1] + len(column))

    def __len__(self) -> int:
        return self._starts[-1]

    def name(self, index: int) -> str:
        table, row = self._find(index)
        return f"{self._columns[table][0]}:{row + 1}"

    def raw(self, index: int, *, min_side: int | None, channels: int) -> str:
        table, row = self._find(index)
        return self._columns[table][1][row].as_py() or ""

    def digest(self, index: int) -> bytes:
        text = self.raw(index, min_side=None, channels=0)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def _find(self, index: int) -> tuple[int, int]:
        table = next(k for k, end in enumerate(self._starts[1:]) if index < end)
        return table, index - self._starts[table]


def read(
    path: Path, *, options: ReadOptions, labelled: bool
) -> tuple[pa.ChunkedArray, list[str] | None, int]:
    """The text column, the labels as strings (None unless asked for) and how many rows without a
    label were dropped.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError for no rows.
    """
    import pyarrow.compute as pc

    table = _READERS[path.suffix.lower()](path, options)
    for wanted in (options.text_column, *([options.label_column] if labelled else [])):
        if wanted not in table.column_names:
            raise _no_column(path, wanted, table.column_names)
    if table.num_rows == 0:
        raise NotFoundError(
            f"'{path.name}' has no rows",
            thing=path.name,
            remedy="give a file with data below its header",
        )
    text = _strings(table.column(options.text_column), path, options.text_column)
    longest = pc.max(pc.utf8_length(text)).as_py() or 0
    if longest > MAX_FIELD:
        row = pc.index(pc.utf8_length(text), longest).as_py()
        raise DataError(
            f"row {row + 1} of '{path.name}' has a text of {longest:,} characters, the "
            f"limit is {MAX_FIELD:,}",
            thing=path.name,
            remedy="look for a missing quote there",
        )
    if not labelled:
        return text, None, 0
    labels = _strings(table.column(options.label_column), path, options.label_column)
    empty = pc.or_kleene(pc.is_null(labels), pc.equal(pc.utf8_trim_whitespace(labels), ""))
    missing = [row for row, is_empty in enumerate(empty.to_pylist()) if is_empty is not False]
    if missing and not options.drop_unlabelled:
        raise DataError(
            f"'{path.name}' has {len(missing)} rows without a label: "
            f"{', '.join(str(row + 1) for row in missing[:5])}",
            thing=path.name,
            remedy="--drop-unlabelled leaves them out",
        )
    if missing:
        kept = pc.invert(pc.fill_null(empty, True))
        text, labels = text.filter(kept), labels.filter(kept)
    return text, labels.to_pylist(), len(missing)


def _strings(column: pa.ChunkedArray, path: Path, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column '{name}' of '{path.name}' has type {column.type}, no text",
            thing=name,
            remedy="name another column",
        ) from error


def _read_csv(path: Path, options: ReadOptions) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    content = decoded(path, options.encoding)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    _check_header(path, header, delimiter)
    ragged: list[Any] = []

    def keep(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(use_threads=False, block_size=max(len(content), 1) + 1),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=False,
                column_types={
                    name: pa.string() for name in (options.text_column, options.label_column)
                },
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"'{path.name}' is no CSV: {_first(error)}",
            thing=path.name,
            remedy="look for a quote that is not closed",
        ) from error
    if ragged:
        one = ragged[0]
        raise DataError(
            f"row {one.number or '?'} of '{path.name}' has {one.actual_columns} fields,"
            f" the header has {one.expected_columns}",
            thing=path.name,
            remedy="quote fields that hold the delimiter",
        )
    _check_quotes(path, content)
    return table


def _check_header(path: Path, header: str, delimiter: str) -> None:
    import csv

    names = next(csv.reader([header], delimiter=delimiter), [])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"'{path.name}' has two columns named '{twice[0]}'",
            thing=twice[0],
            remedy="rename one of them",
        )
    if len(names) == 1:
        for other, said in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if other in header and other != delimiter:
                raise DataError(
                    f"'{path.name}' is separated by {said}, not commas",
                    thing=path.name,
                    remedy="save it with commas, or as .tsv with tabs",
                )


def _check_quotes(path: Path, content: bytes) -> None:
    """An unclosed quote swallows the rest of the file as one field, which Arrow accepts."""
    if content.count(b'"') % 2:
        line = 1 + content[: content.rindex(b'"')].count(b"\n")
        raise DataError(
            f"'{path.name}' has a quote that is not closed, the last one is in line {line}",
            thing=path.name,
            remedy="close it, or double quotes in a text",
        )


def decoded(path: Path, encoding: str) -> bytes:
    """A text file's content as UTF-8, without a byte order mark.

    Raises: DataError naming the byte that is not in the encoding, or the line with a NUL.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path.name}' is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}",
            thing=path.name,
            remedy="name its encoding, for example --encoding latin-1",
        ) from error
    except LookupError as error:
        raise DataError(
            f"there is no encoding '{encoding}'", thing=encoding, remedy="--encoding utf-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"'{path.name}' holds a NUL byte in line "
            f"{1 + text[: text.index(chr(0))].count(chr(10))}",
            thing=path.name,
            remedy="it may be UTF-16: --encoding utf-16",
        )
    return text.encode()


def _read_json(path: Path, options: ReadOptions) -> pa.Table:
    import pyarrow as pa

    rows = []
    for number, line in enumerate(decoded(path, options.encoding).decode().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"line {number} of '{path.name}' is no JSON: {error.msg}",
                thing=path.name,
                remedy="write one JSON object to a line",
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"line {number} of '{path.name}' is no JSON object",
                thing=path.name,
                remedy="write one JSON object to a line",
            )
        rows.append(row)
    names = sorted({name for row in rows[:1000] for name in row})
    wanted = [name for name in names if name in (options.text_column, options.label_column)]
    columns = {
        name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in wanted
    }
    others = {name: pa.nulls(len(rows)) for name in names if name not in wanted}
    return pa.table(columns | others)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _read_parquet(path: Path, options: ReadOptions) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"'{path.name}' is no Parquet file: {_first(error)}",
            thing=path.name,
            remedy="write it again",
        ) from error


def _read_arrow(path: Path, options: ReadOptions) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise DataError(
            f"'{path.name}' is no Arrow file: {_first(error)}",
            thing=path.name,
            remedy="write it again",
        ) from error


_READERS = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_json, ".ndjson": _read_json,
            ".parquet": _read_parquet, ".arrow": _read_arrow}  # fmt: skip


def _no_column(path: Path, wanted: str, names: Sequence[str]) -> DataError:
    option = "--label-column" if wanted == "label" else "--text-column"
    return DataError(
        f"'{path.name}' has no column '{wanted}', its columns are {', '.join(names[:12])}",
        thing=wanted,
        remedy=f"{option} NAME" if wanted in ("text", "label") else "name one of them",
    )


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
