"""Detection of the separator, the quote and the escape of a delimited file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "pipe": "|",
         "space": " "}  # fmt: skip
"""Separators by the names that the option takes."""
ROWS = 200
"""Rows read for detection."""
_SAMPLE = 1 << 17
_QUOTES = ('"', "'")
_HINT = re.compile(r"sep=(.)\r?\n")
_MOST = 0.9


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The separator of fields, the quote around them, and the escape of a quote."""

    separator: str
    quote: str = '"'
    escape: str | None = None


def sniff(
    text: str, *, separator: str, forced: str | None, fits: Callable[[Sequence[str]], bool]
) -> Dialect:
    """The dialect of a file.

    separator: the usual one for the file's name, which stays where its header fits, or where no
    other is more consistent; forced: the only candidate, if any; fits: whether a header has the
    selected columns.
    """
    sample = _sample(text)
    choices = [forced] if forced else [separator, *(one for one in SEPARATORS if one != separator)]
    usual = [Dialect(separator=one, quote=quote) for quote in _QUOTES for one in choices]
    fitting = [one for one in usual if fits(next(rows(sample, one), []))]
    if fitting:
        dialect = Dialect(separator=fitting[0].separator)
    else:
        dialect = max(usual[: len(choices)], key=lambda one: _consistency(sample, one))
    other = replace(dialect, quote="'")
    if _has_single_quotes(sample, other, dialect):
        dialect = other
    if f"\\{dialect.quote}" in text:
        escaped = replace(dialect, escape="\\")
        if _open_quotes(text, escaped) < _open_quotes(text, dialect):
            return escaped
    return dialect


def without_hint(text: str) -> tuple[str, str | None]:
    """A text with an empty line in place of Excel's first line `sep=;`, and the separator that this
    line names."""
    hint = _HINT.match(text)
    return ("\n" + text[hint.end() :], hint[1]) if hint else (text, None)


def rows(text: str, dialect: Dialect) -> Iterator[list[str]]:
    """The rows of the beginning of a text without empty lines, up to an overlong field."""
    lines = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
    )
    try:
        yield from (row for row in lines if row)
    except csv.Error:  # a field that is longer than any column's name
        yield [text[:40]]


def quoted(dialect: Dialect) -> re.Pattern[str]:
    """A field that begins with a quote; group 1 is the quote that ends it, if one does."""
    separator, quote = re.escape(dialect.separator), re.escape(dialect.quote)
    inside = rf"[^{quote}]++|{quote}{quote}"
    if dialect.escape:
        inside = rf"[^{quote}\\]++|\\.|{quote}{quote}"
    return re.compile(
        rf"(?:\A|(?<=[{separator}\r\n])){quote}(?:{inside})*+({quote}(?=[{separator}\r\n]|\Z))?",
        re.DOTALL,
    )


def _sample(text: str) -> str:
    if len(text) <= _SAMPLE:
        return text
    return text[: text.rfind("\n", 0, _SAMPLE) + 1] or text[:_SAMPLE]


def _consistency(sample: str, dialect: Dialect) -> float:
    """The share of rows with as many fields as the header, which has two or more."""
    header, *below = [*islice(rows(sample, dialect), 1 + ROWS)] or [[]]
    if len(header) < 2 or not below:
        return 0.5 * (len(header) > 1)
    return sum(len(row) == len(header) for row in below) / len(below)


def _has_single_quotes(sample: str, other: Dialect, usual: Dialect) -> bool:
    """Whether single quotes are quotes rather than apostrophes: all of them are closed, no fewer
    rows have the header's number of fields, and either more have it, or nearly every row has such a
    field, or one has a doubled quote."""
    fields = list(quoted(other).finditer(sample))
    if not fields or not all(field[1] for field in fields):
        return False
    rate, other_rate = _consistency(sample, usual), _consistency(sample, other)
    if other_rate < max(_MOST, rate):
        return False
    lines = sum(1 for _ in rows(sample, other))
    doubled = any(2 * other.quote in field[0][1:-1] for field in fields)
    return other_rate > rate or doubled or len(fields) >= _MOST * (lines - 1)


def _open_quotes(text: str, dialect: Dialect) -> int:
    """How many fields begin with a quote and do not end with one."""
    return sum(field[1] is None for field in quoted(dialect).finditer(text))
