"""CSV and TSV files through Arrow's parser, after checks of what the parser does not report."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zooadapt.data import dialects
from zooadapt.data.columns import Columns, is_data
from zooadapt.data.dialects import NAMED, ROWS, SEPARATORS, Dialect
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import line_at, read_text
from zooadapt.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FIELD = 1_000_000
"""Characters of a text, at most: a longer one is a missing quote or the wrong file."""
_BLOCK = 1 << 26
_HEADER = 1 << 20


def read_csv(path: Path, options: ReadOptions, selection: Columns, notes: list[str]) -> pa.Table:
    """The selected columns as strings, verbatim, with a note on an unusual dialect.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError without a header;
    AccessError; UsageError for an invalid separator.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    text = read_text(path, options.encoding, notes)
    text, dialect = _dialect(path, text, options, selection, notes)
    names = next(dialects.rows(text[:_HEADER], dialect), [])
    if not names:
        raise NotFoundError(
            f"'{path.name}' is empty", thing=path.name, remedy="give a file with a header and rows"
        )
    columns = _columns(path, text, dialect, names, selection)
    _check_quotes(path, text, dialect)
    ragged: list[Any] = []

    def collect(row: Any) -> str:
        ragged.append(row)
        return "skip"

    content = text.encode() if text.endswith("\n") else text.encode() + b"\n"
    try:
        table = arrow.read_csv(
            pa.BufferReader(content),
            # One thread, so that rows are numbered; blocks that any sane row fits into.
            read_options=arrow.ReadOptions(
                use_threads=False, block_size=min(len(content) + 1, _BLOCK)
            ),
            parse_options=arrow.ParseOptions(
                delimiter=dialect.separator,
                quote_char=dialect.quote,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
                invalid_row_handler=collect,
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


def too_long(path: Path, row: int | None, length: str) -> DataError:
    """The error for a text above the limit. row: from 1, if it is known."""
    where = f"row {row} of '{path.name}'" if row else f"'{path.name}'"
    return DataError(
        f"{where} has a text of {length} characters, the limit is {MAX_FIELD:,}",
        thing=path.name,
        remedy="look for a quote that is not closed there, or shorten it",
    )


def _dialect(
    path: Path, text: str, options: ReadOptions, selection: Columns, notes: list[str]
) -> tuple[str, Dialect]:
    forced = options.separator and NAMED.get(options.separator.lower(), options.separator)
    if forced is not None and (len(forced) != 1 or not forced.isascii() or forced in "\"'\r\n\\"):
        raise UsageError(
            f"'{options.separator}' cannot separate fields",
            thing="--separator",
            remedy="--separator semicolon, or one character",
        )
    text, hint = dialects.without_hint(text)
    usual = "\t" if ".tsv" in (s.lower() for s in PurePath(path.name).suffixes) else ","
    dialect = dialects.sniff(text, separator=usual, forced=forced or hint, fits=selection.fits)
    details = []
    if forced is None and dialect.separator != usual:
        name = SEPARATORS.get(dialect.separator, repr(dialect.separator))
        details.append(f"separated by {name} (--separator overrules)")
    if dialect.quote != '"':
        details.append("quoted by single quotes")
    if dialect.escape is not None:
        details.append("a backslash makes a quote part of the text")
    if details:
        notes.append(f"{path.name} is read as CSV, {', '.join(details)}")
    return text, dialect


def _columns(
    path: Path, text: str, dialect: Dialect, names: list[str], selection: Columns
) -> list[str]:
    def below() -> list[list[str]]:
        return list(islice(dialects.rows(text[:_HEADER], dialect), 1, 1 + ROWS))

    def peek() -> dict[str, list[str]]:
        columns = zip(*(row for row in below() if len(row) == len(names)), strict=True)
        return {name: list(values) for name, values in zip(names, columns, strict=False)}

    if not selection.fits(names) and is_data(names, below(), selection.modality):
        fields = ", ".join(f"'{name[:40]}'" for name in names[:4])
        raise DataError(
            f"'{path.name}' seems to have no header: its first line, {fields}, is like those "
            "below it",
            thing=path.name,
            remedy=f"write the names of its {len(names)} columns above it, such as "
            f"{dialect.separator.join(('text', 'label'))}",
        )
    return selection.select(path.name, names, peek)


def _line_of(text: str, row: str) -> int:
    match = re.search(rf"^{re.escape(row)}$", text, re.MULTILINE)
    return line_at(text, match.start() if match else 0)


def _check_quotes(path: Path, text: str, dialect: Dialect) -> None:
    """Raises: DataError for a quote that is not closed. Arrow reads the lines below it as text, up
    to the next quote or to the end, without an error."""
    fields = dialects.quoted(dialect).finditer(text) if dialect.quote in text else ()
    for field in fields:
        # Text after a quote that is closed in its line, as in `"Foo" bar`, is harmless.
        if field[1] is None and (field.end() == len(text) or "\n" in field[0]):
            raise DataError(
                f"'{path.name}' has a quote that is not closed in line "
                f"{line_at(text, field.start())}",
                thing=path.name,
                remedy="close it, or double the quotes in a text",
            )
