"""CSV and TSV files through Arrow's parser, with the faults it does not tell found beforehand."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zooadapt.data import dialects
from zooadapt.data.columns import Wanted, is_data
from zooadapt.data.dialects import NAMED, ROWS, SEPARATORS, Dialect
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import line_at, read_text
from zooadapt.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FIELD = 1_000_000
"""Characters a text may have; longer ones are a missing quote or the wrong file."""
_BLOCK = 1 << 26
_HEADER = 1 << 20


def read_csv(path: Path, options: ReadOptions, wanted: Wanted, notes: list[str]) -> pa.Table:
    """The wanted columns as strings, verbatim. How the fields are set apart and quoted goes into
    `notes` where it is not as usual.

    Raises: DataError naming the line, row, column or byte at fault; NotFoundError without a header;
    AccessError; UsageError for a separator that is none.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    text = read_text(path, options.encoding, notes)
    text, dialect = _dialect(path, text, options, wanted, notes)
    names = next(dialects.rows(text[:_HEADER], dialect), [])
    if not names:
        raise NotFoundError(
            f"'{path.name}' is empty", thing=path.name, remedy="give a file with a header and rows"
        )
    columns = _columns(path, text, dialect, names, wanted)
    _check_quotes(path, text, dialect)
    ragged: list[Any] = []

    def keep(row: Any) -> str:
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
                invalid_row_handler=keep,
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
    """For a text longer than any text is. row: from 1, where it is known."""
    where = f"row {row} of '{path.name}'" if row else f"'{path.name}'"
    return DataError(
        f"{where} has a text of {length} characters, the limit is {MAX_FIELD:,}",
        thing=path.name,
        remedy="look for a quote that is not closed there, or shorten it",
    )


def _dialect(
    path: Path, text: str, options: ReadOptions, wanted: Wanted, notes: list[str]
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
    dialect = dialects.sniff(text, separator=usual, forced=forced or hint, suits=wanted.suits)
    unusual = []
    if forced is None and dialect.separator != usual:
        name = SEPARATORS.get(dialect.separator, repr(dialect.separator))
        unusual.append(f"separated by {name} (--separator overrules)")
    if dialect.quote != '"':
        unusual.append("quoted by single quotes")
    if dialect.escape is not None:
        unusual.append("a backslash makes a quote part of the text")
    if unusual:
        notes.append(f"{path.name} is read as CSV, {', '.join(unusual)}")
    return text, dialect


def _columns(
    path: Path, text: str, dialect: Dialect, names: list[str], wanted: Wanted
) -> list[str]:
    def below() -> list[list[str]]:
        return list(islice(dialects.rows(text[:_HEADER], dialect), 1, 1 + ROWS))

    def peek() -> dict[str, list[str]]:
        columns = zip(*(row for row in below() if len(row) == len(names)), strict=True)
        return {name: list(values) for name, values in zip(names, columns, strict=False)}

    if not wanted.suits(names) and is_data(names, below()):
        shown = ", ".join(f"'{name[:40]}'" for name in names[:4])
        raise DataError(
            f"'{path.name}' seems to have no header: its first line, {shown}, is like those "
            "below it",
            thing=path.name,
            remedy=f"write the names of its {len(names)} columns above it, such as "
            f"{dialect.separator.join(('text', 'label'))}",
        )
    return wanted.select(path.name, names, peek)


def _line_of(text: str, row: str) -> int:
    found = re.search(rf"^{re.escape(row)}$", text, re.MULTILINE)
    return line_at(text, found.start() if found else 0)


def _check_quotes(path: Path, text: str, dialect: Dialect) -> None:
    """A quote opens only where a field begins; one that is never closed swallows the lines below it
    as text, up to the next quote or to the end, and Arrow says nothing."""
    fields = dialects.quoted(dialect).finditer(text) if dialect.quote in text else ()
    for field in fields:
        # A quote closed within its line and followed by more, as in `"Foo" bar`, is only untidy.
        if field[1] is None and (field.end() == len(text) or "\n" in field[0]):
            raise DataError(
                f"'{path.name}' has a quote that is not closed in line "
                f"{line_at(text, field.start())}",
                thing=path.name,
                remedy="close it, or double the quotes in a text",
            )
