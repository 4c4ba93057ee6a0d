"""Labels of tables: one name for equal values, and the names in a file's metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

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


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """The class names of a `ClassLabel` column, whose labels the `datasets` library writes as
    numbers; None where the file's metadata has none."""
    try:
        stored = json.loads((metadata or {}).get(b"huggingface", b""))
    except (ValueError, RecursionError):
        return None
    names: Any = stored
    for key in ("info", "features", column, "names"):
        names = names.get(key) if isinstance(names, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names


def _number(name: str) -> str | None:
    name = name.strip()
    if len(name) > _LONGEST or not _NUMBER.fullmatch(name):
        return None
    value = Decimal(name.replace(",", "."))
    return "0" if not value else f"{value.normalize():f}"


def _truth(name: str) -> str | None:
    return _TRUTH.get(name.strip().lower())
