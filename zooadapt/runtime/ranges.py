"""Ranges and choices of the values of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zooadapt.errors import UsageError

MANY = 1_000_000
"""More than any user means, and small enough to be counted and multiplied."""


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most` except those in `without`; NaN is outside."""

    least: float
    most: float = MANY
    without: tuple[float, ...] = ()

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and value not in self.without

    def __str__(self) -> str:
        but = f" that is not {' or '.join(map(str, self.without))}" if self.without else ""
        return f"a number from {self.least:,} to {self.most:,}{but}"


def check(request: object, ranges: Mapping[str, Range], *, command: str) -> None:
    """Check the named attributes of a request; None is valid.

    Raises: UsageError naming the option whose number is out of range.
    """
    for name, allowed in ranges.items():
        value = getattr(request, name)
        if value is not None and value not in allowed:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} {value} must be {allowed}",
                thing=option,
                remedy=f"zooadapt {command} --help",
            )


def check_words(request: object, choices: Mapping[str, Sequence[str]]) -> None:
    """Check the attributes of a request that take one of a few words.

    Raises: UsageError naming the option that has another value.
    """
    for name, words in choices.items():
        value = getattr(request, name)
        if value not in words:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} '{value}' must be one of {', '.join(words)}",
                thing=option,
                remedy=f"{option} {words[0]}",
            )


def seconds(value: str) -> float:
    """A duration such as `90s`, `10m` or `1.5h`, in seconds; a bare number is seconds.

    Raises: ValueError for any other text.
    """
    text, units = value.strip().lower(), {"s": 1.0, "m": 60.0, "h": 3600.0}
    unit = units.get(text[-1:])
    return float(text if unit is None else text[:-1]) * (unit or 1.0)
