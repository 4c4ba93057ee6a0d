"""Labels as they are written: one name for equal values, and how many there may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from zooadapt.errors import DataError

Cell = str | tuple[str | None, ...] | None
"""The label of one row as it is written: a string, a list, the cells of several columns, or None
where there is none."""
MAX_OUTPUTS = 20_000
_FEATURES = 2048
"""A common width, for the size of a head of so many outputs."""

_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:[.,]\d+)?(?:[eE][+-]?\d{1,2})?")
_LONGEST = 40
_TRUTH = {"true": "true", "false": "false"}


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
