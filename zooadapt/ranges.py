"""Where the numbers that a user gives may lie."""

from __future__ import annotations

from collections.abc import Mapping
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
