"""Where the numbers that a user gives may lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zooadapt.errors import UsageError

MANY = 1_000_000
"""More than anybody means, and small enough to be counted and multiplied."""


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`, of which `without` are none; NaN never is one."""

    least: float
    most: float = MANY
    without: tuple[float, ...] = ()

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and value not in self.without

    def __str__(self) -> str:
        but = f" that is not {' or '.join(map(str, self.without))}" if self.without else ""
        return f"a number from {self.least:,} to {self.most:,}{but}"


def check(request: object, ranges: Mapping[str, Range], *, command: str) -> None:
    """Look at the attributes of a request that are named; None is no number and stays.

    Raises: UsageError naming the option whose number cannot be meant.
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
    """Look at the attributes of a request that are one of a few words.

    Raises: UsageError naming the option that has another one.
    """
    for name, words in choices.items():
        value = getattr(request, name)
        if value not in words:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} is '{value}', and it is one of {', '.join(words)}",
                thing=option,
                remedy=f"{option} {words[0]}",
            )


def seconds(value: str) -> float:
    """A time such as `90s`, `10m` or `1.5h`, in seconds; a bare number is seconds.

    Raises: ValueError for what is no time.
    """
    text, units = value.strip().lower(), {"s": 1.0, "m": 60.0, "h": 3600.0}
    unit = units.get(text[-1:])
    return float(text if unit is None else text[:-1]) * (unit or 1.0)
