"""Checks the keys of a source's `config.json`, which may come from a stranger, one by one.

    from zooadapt.family import config_keys

    width = config_keys.get(config, "width", config_keys.whole(1, 4096))

An absent key and null are the same. Every function raises DataError, which names the key, for a
value of another kind. This module imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from zooadapt.errors import DataError

T = TypeVar("T")
U = TypeVar("U")
_REQUIRED: Any = object()


@dataclass(frozen=True)
class Kind(Generic[T]):
    """The values that a key may have, and their name in an error."""

    accepts: Callable[[Any], bool]
    name: str

    def __or__(self, other: Kind[U]) -> Kind[T | U]:
        return Kind(
            lambda value: self.accepts(value) or other.accepts(value),
            f"{self.name}, or {other.name}",
        )


def whole(low: int, high: float = math.inf) -> Kind[int]:
    """A whole number from `low` to `high`, both included; true and false are not numbers."""
    return Kind(
        lambda value: type(value) is int and low <= value <= high,
        f"a whole number {_bounds(low, high)}",
    )


def number(low: float, high: float = math.inf) -> Kind[float]:
    """A number from `low` to `high`, both included."""
    return Kind(
        lambda value: type(value) in (int, float) and low <= value <= high,
        f"a number {_bounds(low, high)}",
    )


def text(pattern: str, name: str) -> Kind[str]:
    """A text that a regular expression matches as a whole; `name` describes it in an error."""
    return Kind(
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, name
    )


def choice(*texts: str) -> Kind[str]:
    """One of these texts."""
    return Kind(
        lambda value: isinstance(value, str) and value in texts, f"one of {', '.join(texts)}"
    )


def listed(item: Kind[T], low: int, high: int) -> Kind[list[T]]:
    """A list of `low` to `high` values of one kind."""
    return Kind(
        lambda value: (
            isinstance(value, list) and low <= len(value) <= high and all(map(item.accepts, value))
        ),
        f"a list of {low if low == high else f'{low} to {high}'}, each {item.name}",
    )


FLAG: Kind[bool] = Kind(lambda value: isinstance(value, bool), "true or false")
FRACTION: Kind[float] = Kind(
    lambda value: type(value) in (int, float) and 0 <= value < 1, "a number from 0 to below 1"
)
_OBJECT: Kind[Mapping[str, Any]] = Kind(lambda value: isinstance(value, Mapping), "an object")
_NAME: Kind[str] = Kind(lambda value: isinstance(value, str), "a name")
_NAMES: Kind[list[str]] = Kind(
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "a list of names",
)


def get(
    config: Mapping[str, Any],
    key: str,
    kind: Kind[T],
    default: U = _REQUIRED,
    *,
    file: str = "config.json",
    within: str = "",
) -> T | U:
    """The value of a key, or the default if it is absent; without a default the key is required.
    file, within: the location of the key for an error, such as `within="model_args."`.

    Raises: DataError naming the key.
    """
    value: T | None = config.get(key)
    if value is None and default is not _REQUIRED:
        return default
    if value is None or not kind.accepts(value):
        raise error(within + key, value, kind.name, file=file)
    return value


def select(
    config: Mapping[str, Any],
    kinds: Mapping[str, Kind[Any]],
    *,
    file: str = "config.json",
    within: str = "",
) -> dict[str, Any]:
    """The values of those keys that the config has.

    Raises: DataError naming the key.
    """
    return {
        key: get(config, key, kind, file=file, within=within)
        for key, kind in kinds.items()
        if config.get(key) is not None
    }


def nested(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key, empty if it is absent. Raises: DataError naming the key."""
    return get(config, key, _OBJECT, {})


def names(config: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """The names listed under a key, None if it is absent. Raises: DataError naming the key."""
    listing = get(config, key, _NAMES, None)
    return None if listing is None else tuple(listing)


def logarithmic(config: Mapping[str, Any]) -> bool:
    """Whether the numbers of an export's head are logarithms."""
    scales = nested(nested(config, "zooadapt"), "task").get("scales")
    each = scales if isinstance(scales, list) else []
    return any(isinstance(one, Mapping) and one.get("log") is True for one in each)


def task(config: Mapping[str, Any]) -> str | None:
    """The task of an export, None where its config names none. Raises: DataError naming the key."""
    return get(nested(nested(config, "zooadapt"), "task"), "name", _NAME, None)


def error(key: str, value: Any, expected: str, *, file: str = "config.json") -> DataError:
    """The error for a value that differs from what was `expected`."""
    received = "nothing" if value is None else repr(value)
    return DataError(
        f"{file}: '{key}' is {received if len(received) <= 60 else received[:57] + '...'}, "
        f"expected {expected}",
        thing=key,
        remedy=f"correct the source's {file}",
    )


def _bounds(low: float, high: float) -> str:
    return f"of at least {low}" if high == math.inf else f"from {low} to {high}"
