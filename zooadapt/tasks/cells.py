"""Labels as they are written: names, numbers, truth values, and several in one string."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from zooadapt.errors import DataError

Cell = str | tuple[str | None, ...] | None
"""The label of one row as it is written: a string, a list, the cells of several columns, or None
where there is none."""
SEPARATORS = ("|", ";", ",")
"""What joins several labels in one string."""
MAX_OUTPUTS = 20_000
_FEATURES = 2048
"""A common width, for the size of a head of so many outputs."""

_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:[.,]\d+)?(?:[eE][+-]?\d{1,2})?")
_NO_FINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_LONGEST = 40
_TRUTH = {"true": "true", "false": "false"}
_POSITIVE = {"0": False, "1": True, "false": False, "true": True}


def by_value(names: Sequence[str | None]) -> list[str | None]:
    """Names with one spelling for each value, if all of them are numbers (`0`, `0.0`, `0,0`) or all
    are truth values (`True`, `true`); else as they are. A number with a leading zero is a code."""
    distinct = {name for name in names if name is not None and not lacks(name)}
    for spell in (_number, _truth):
        spellings = {name: spell(name) for name in distinct}
        if None not in spellings.values():
            return [name and spellings.get(name, name) for name in names]
    return list(names)


def lacks(name: str | None) -> bool:
    """Whether this is a missing label."""
    # pandas writes a missing value as `NaN`; `nan` may be a language.
    return name is None or name == "NaN" or name == "" or name.isspace()


def empty(cell: Cell) -> bool:
    """Whether nothing is written in this cell, nor in any of several columns."""
    return all(map(lacks, cell)) if isinstance(cell, tuple) else lacks(cell)


def spelled(value: Any) -> str | None:
    """An entry of a list as cells have it; None for NaN."""
    if value is None or value != value:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(name: str) -> float | None:
    """The number that a cell holds, which may be infinite or `nan`; None for anything else, and for
    a code with a leading zero."""
    spelling = _number(name) or (name.strip() if _NO_FINITE.fullmatch(name.strip()) else None)
    return None if spelling is None else float(spelling)


def truth(name: str) -> bool | None:
    """Whether a cell of a column of 0 and 1, or of `false` and `true`, is positive; None for any
    other cell."""
    spelling = _number(name) or _truth(name)
    return None if spelling is None else _POSITIVE.get(spelling)


def separator_of(cells: Sequence[Cell]) -> str | None:
    """The one of `SEPARATORS` that joins several labels in these strings: the first that `joins`
    them, else the first that is in one at all; None for none."""
    joining = [separator for separator in SEPARATORS if joins(cells, separator)]
    names = {cell for cell in cells if isinstance(cell, str)}
    present = [s for s in SEPARATORS if any(len(split(name, s)) > 1 for name in names)]
    return next(iter([*joining, *present]), None)


def joins(cells: Sequence[Cell], separator: str) -> bool:
    """Whether these strings share the parts between separators: parts repeat, and there are no more
    different ones than different strings, as there are where the parts are levels of a taxonomy."""
    names = {cell for cell in cells if isinstance(cell, str) and not lacks(cell)}
    if any(name.strip().startswith(separator) for name in names):  # a name, or a row of a drawing
        return False
    each = [split(name, separator) for name in names]
    parts = {part for several in each for part in several}
    most = len(names) - (separator == ",")  # a comma is part of many names
    return any(len(several) > 1 for several in each) and sum(map(len, each)) > len(parts) <= most


def split(name: str, separator: str | None) -> tuple[str, ...]:
    """The labels that a string joins, without the blanks around them."""
    parts = [part.strip() for part in (name.split(separator) if separator else [name])]
    return tuple(part for part in parts if part)


def _number(name: str) -> str | None:
    name = name.strip()
    if len(name) > _LONGEST or not _NUMBER.fullmatch(name):
        return None
    value = Decimal(name.replace(",", "."))
    return "0" if not value else f"{value.normalize():f}"


def _truth(name: str) -> str | None:
    return _TRUTH.get(name.strip().lower())


def check_number(outputs: Sequence[str], noun: tuple[str, str]) -> None:
    """Raises: DataError for more outputs than a head may have."""
    if len(outputs) > MAX_OUTPUTS:
        # Weights, gradients and two moments of the optimiser, fp32 each.
        size = len(outputs) * _FEATURES * 4 * 4 / 1e9
        raise DataError(
            f"{len(outputs):,} {noun[1]}, the limit is {MAX_OUTPUTS:,}: to train a head for them "
            f"on {_FEATURES} features would take {size:.1f} GB",
            thing=noun[1],
            remedy=f"check that the labels are {noun[0]} names, --label-column names another "
            "column",
        )
