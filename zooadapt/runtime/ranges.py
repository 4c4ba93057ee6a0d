"""Ranges and choices of the values of options."""

from __future__ import annotations

from dataclasses import dataclass

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


def seconds(value: str) -> float:
    """A duration such as `90s`, `10m` or `1.5h`, in seconds; a bare number is seconds.

    Raises: ValueError for any other text.
    """
    text, units = value.strip().lower(), {"s": 1.0, "m": 60.0, "h": 3600.0}
    unit = units.get(text[-1:])
    try:
        return float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        raise ValueError("is no time; write '90s', '10m' or '1h'") from None


def probability(value: str) -> float:
    """A number from 0 to 1.

    Raises: ValueError for another one, NaN among them.
    """
    try:
        if 0 <= float(value) <= 1:
            return float(value)
    except ValueError:
        pass
    raise ValueError("is no probability; write a number from 0 to 1")
