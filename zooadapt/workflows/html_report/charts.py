"""Line charts: values to places of an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 38
_TICKS = 5
_SMALLEST = 1e-9
_NARROW = 1e-3
"""Of the values: a range that is narrower, as that of equal values, is widened."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The range of an axis, its ticks and its name."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the ends of the axis: 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values with a name; `style` is `solid`, `dashed` or `dots`."""

    name: str
    points: tuple[tuple[float, float], ...]
    style: str
    ranges: tuple[tuple[float, float, float], ...] = ()
    """Intervals: x, and the ends on y."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture of several series with a title, and a sentence for those who do not see it."""

    title: str
    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    diagonal: bool = False
    """Whether the line is drawn on which x equals y."""
    height: int = 210

    width, left, top, right = _WIDTH, _LEFT, _TOP, _WIDTH - _RIGHT

    @property
    def bottom(self) -> int:
        """The y of the x axis."""
        return self.height - _BOTTOM

    def across(self, value: float) -> str:
        """The x of a value in the picture."""
        return f"{self.left + self.x.share(value) * (self.right - self.left):.1f}"

    def down(self, value: float) -> str:
        """The y of a value in the picture."""
        return f"{self.bottom - self.y.share(value) * (self.bottom - self.top):.1f}"

    def line(self, series: Series) -> str:
        """The points of a series, for a polyline."""
        return " ".join(f"{self.across(x)},{self.down(y)}" for x, y in series.points)


def axis(name: str, values: Sequence[float], *, whole: bool = False) -> Axis:
    """An axis with round ticks that covers all values. whole: numbers of something."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high), _SMALLEST)
    if high - low < _NARROW * size:
        low, high = low - _NARROW * size, high + _NARROW * size
    step = _step((high - low) / _TICKS)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(float(f"{k * step:.9g}") for k in range(first, last + 1))
    return Axis(name=name, low=ticks[0], high=ticks[-1], ticks=ticks)


def doubling(name: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis with a tick at each value."""
    ticks = tuple(sorted(set(values)))
    return Axis(
        name=name, low=ticks[0] / 1.15, high=ticks[-1] * 1.15, ticks=ticks, logarithmic=True
    )


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= least * (1 - 1e-9))
