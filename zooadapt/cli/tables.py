"""The layout of a table on a terminal of any width: no word is broken, no heading is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

_FRAME = 3
"""Characters that a column takes beside its cells; one more ends the line."""


def fitted(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int,
    *, spare: Sequence[int], short: Sequence[str],
) -> Table | Group:  # fmt: skip
    """A table of at most `width` characters. One that is wider first takes its `short` headings,
    then omits `spare` columns in their order, then wraps cells between words. If words are too long
    for that, each row becomes lines of `heading: cell`.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    if short and _natural(columns, rows) > width:
        columns = short
    indices = list(range(len(columns)))
    for index in spare:
        if _natural(*_only(indices, columns, rows)) > width:
            indices.remove(index)
    columns, rows = _only(indices, columns, rows)
    if _least(columns, rows) > width:
        return _records(title, columns, rows)
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column, cells in zip(columns, _by_column(columns, rows), strict=True):
        table.add_column(
            Text(column),
            justify="right" if rows and all(map(_is_number, cells)) else "left",
            min_width=max(map(_longest_word, [column, *cells])),
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _records(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Group:
    """A paragraph for each row; a cell without a heading stands alone."""
    lines = [title] if title else []
    for row in rows:
        pairs = zip(columns, row, strict=True)
        lines += ["", *(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)]
    return Group(*map(Text, lines))


def _only(
    indices: Sequence[int], columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    return [columns[k] for k in indices], [[row[k] for k in indices] for row in rows]


def _by_column(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[row[k] for row in rows] for k in range(len(columns))]


def _natural(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width of a table with every cell on one line."""
    cells = _by_column(columns, rows)
    widths = [max(map(cell_len, [name, *of])) for name, of in zip(columns, cells, strict=True)]
    return sum(widths) + _FRAME * len(widths) + 1


def _least(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width of a table whose columns are as wide as their longest word."""
    cells = _by_column(columns, rows)
    widths = [max(map(_longest_word, [name, *of])) for name, of in zip(columns, cells, strict=True)]
    return sum(widths) + _FRAME * len(widths) + 1


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(",", "").replace(".", "", 1).lstrip("-").isdigit()
