"""CSV and TSV files through Arrow's parser, with the faults it does not tell found beforehand."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.data.dataset import ReadOptions
from zooadapt.data.reading import line_at, read_text
from zooadapt.errors import DataError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FIELD = 1_000_000
"""Characters a text may have; longer ones are a missing quote or the wrong file."""
_BLOCK = 1 << 26
_HEADER = 1 << 20
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, options: ReadOptions, wanted: Mapping[str, str]) -> pa.Table:
    """The wanted columns (option to column name) as strings, verbatim.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError without a header;
    AccessError.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    text = read_text(path, options.encoding)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names = _header(text, delimiter)
    if not names:
        raise NotFoundError(
            f"'{path.name}' is empty", thing=path.name, remedy="give a file with a header and rows"
        )
    _check_delimiter(path, text, delimiter, names, wanted)
    check_columns(path, names, wanted)
    _check_quotes(path, text, delimiter)
    ragged: list[Any] = []

    def keep(row: Any) -> str:
        ragged.append(row)
        return "skip"

    columns = list(dict.fromkeys(wanted.values()))
    content = text.encode() if text.endswith("\n") else text.encode() + b"\n"
    try:
        table = arrow.read_csv(
            pa.BufferReader(content),
            # One thread, so that rows are numbered; blocks that any sane row fits into.
            read_options=arrow.ReadOptions(
                use_threads=False, block_size=min(len(content) + 1, _BLOCK)
            ),
            parse_options=arrow.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=arrow.ConvertOptions(
                include_columns=columns,
                column_types={name: pa.large_string() for name in columns},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            raise too_long(path, None, f"over {_BLOCK:,}") from error
        raise DataError(
            f"'{path.name}' is no CSV: {str(error).splitlines()[0][:200]}",
            thing=path.name,
            remedy="look for a quote that is not closed",
        ) from error
    if ragged:
        row = ragged[0]
        raise DataError(
            f"line {_line_of(text, row.text)} of '{path.name}' has {row.actual_columns} fields,"
            f" the header has {row.expected_columns}",
            thing=path.name,
            remedy="quote fields that hold the delimiter",
        )
    return table


def check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """See that a table has the wanted columns (option to column name), each once.

    Raises: DataError naming the column and listing those there are.
    """
    for option, column in wanted.items():
        if column not in names:
            shown = ", ".join(f"'{name}'" for name in names[:12])
            raise DataError(
                f"'{path.name}' has no column '{column}', its columns are {shown}"
                + (", ..." if len(names) > 12 else ""),
                thing=column,
                remedy=f"{option} NAME",
            )
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(
                f"'{path.name}' has two columns named '{name}'",
                thing=name,
                remedy="rename one of them",
            )


def too_long(path: Path, row: int | None, length: str) -> DataError:
    """For a text longer than any text is. row: from 1, where it is known."""
    where = f"row {row} of '{path.name}'" if row else f"'{path.name}'"
    return DataError(
        f"{where} has a text of {length} characters, the limit is {MAX_FIELD:,}",
        thing=path.name,
        remedy="look for a quote that is not closed there, or shorten it",
    )


def _header(text: str, delimiter: str) -> list[str]:
    lines = csv.reader(io.StringIO(text[:_HEADER], newline=""), delimiter=delimiter)
    try:
        return next((names for names in lines if names), [])
    except csv.Error:  # a field that is longer than any column's name
        return [text[:40]]


def _line_of(text: str, row: str) -> int:
    found = re.search(rf"^{re.escape(row)}$", text, re.MULTILINE)
    return line_at(text, found.start() if found else 0)


def _check_delimiter(
    path: Path, text: str, delimiter: str, names: Sequence[str], wanted: Mapping[str, str]
) -> None:
    """A header that has the wanted columns under another delimiter says which one it is."""
    if set(wanted.values()) <= set(names):
        return
    for other, said in _SEPARATORS.items():
        under_other = _header(text, other) if other != delimiter else []
        if len(under_other) > 1 and set(wanted.values()) <= set(under_other):
            raise DataError(
                f"'{path.name}' is separated by {said}, not {_SEPARATORS[delimiter]}",
                thing=path.name,
                remedy="save it with commas, or as .tsv with tabs",
            )


def _check_quotes(path: Path, text: str, delimiter: str) -> None:
    """A quote opens only where a field begins; one that is never closed swallows the lines below it
    as text, up to the next quote or to the end, and Arrow says nothing."""
    separator = re.escape(delimiter)
    quoted = re.compile(
        rf'(?:\A|(?<=[{separator}\r\n]))"(?:[^"]++|"")*+("(?=[{separator}\r\n]|\Z))?'
    )
    for found in quoted.finditer(text) if '"' in text else ():
        # A quote closed within its line and followed by more, as in `"Foo" bar`, is only untidy.
        inside = found[0]
        if found[1] is None and (found.end() == len(text) or "\n" in inside):
            raise DataError(
                f"'{path.name}' has a quote that is not closed in line "
                f"{line_at(text, found.start())}",
                thing=path.name,
                remedy="close it, or double the quotes in a text",
            )
