"""A picture of models by cost and accuracy, as SVG that stands for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from zooadapt.runtime.wording import printable

WIDTH, HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 30, 48
_RADIUS = 10
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_TICKS = 6
STYLE = """
.scatter { font: 12px system-ui, sans-serif; fill: currentColor; max-width: 100%; height: auto }
.scatter .grid { stroke: currentColor; stroke-opacity: .15 }
.scatter .baseline { stroke: currentColor; stroke-dasharray: 4 4; stroke-opacity: .6 }
.scatter .interval { stroke: #4477aa; stroke-width: 2; stroke-opacity: .5 }
.scatter circle { fill: #4477aa }
.scatter .marked circle { fill: #228833 }
.scatter .number { fill: #fff; font-weight: 600 }
"""
"""CSS of the picture, for the page that holds it."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model in the picture."""

    number: str
    """What the point is named by in the picture, of one to three characters."""
    title: str
    """Shown where a pointer rests on the point."""
    cost: float
    """Above 0."""
    accuracy: float
    interval: tuple[float, float]
    marked: bool


def scatter(points: Sequence[Point], baselines: Mapping[str, float], *, cost: str) -> str:
    """The points, accuracy upwards and cost to the right on a logarithmic axis, and a line for the
    accuracy of each baseline, as one `<svg>` element without scripts, links or fonts of its own.
    At least one point; `cost`: the name of the axis with its unit."""
    low = min([one.interval[0] for one in points] + list(baselines.values()))
    high = max([one.interval[1] for one in points] + list(baselines.values()))
    step = next((s for s in _STEPS if (high - low) / s <= _TICKS), _STEPS[-1])
    bottom, top = math.floor(low / step), math.ceil(high / step)
    logs = [math.log10(one.cost) for one in points]
    first, last = min(logs) - 0.15, max(logs) + 0.15

    def across(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def up(value: float) -> float:
        share = (value / step - bottom) / max(1, top - bottom)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    parts = []
    for number in range(bottom, max(top, bottom + 1) + 1):
        y = up(number * step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{number * step:.2f}", anchor="end"))
    for value in _costs(first, last):
        x = across(value)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - _BOTTOM + 18, f"{value:g}"))
    for name, value in baselines.items():
        y = up(value)
        parts.append(
            f'<line class="baseline" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        )
        parts.append(_text(WIDTH - _RIGHT - 4, y - 4, name, anchor="end"))
    for one in sorted(points, key=lambda one: one.marked):
        x, y = across(one.cost), up(one.accuracy)
        under, over = (up(value) for value in one.interval)
        kind = ' class="marked"' if one.marked else ""
        parts.append(
            f"<g{kind}><title>{_plain(one.title)}</title>"
            f'<line class="interval" x1="{x}" x2="{x}" y1="{under}" y2="{over}"/>'
            f'<circle cx="{x}" cy="{y}" r="{_RADIUS}"/>'
            + _text(x, y + 4, one.number, kind="number")
            + "</g>"
        )
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, cost))
    parts.append(_text(8, _TOP - 16, "accuracy", anchor="start"))
    return (
        f'<svg class="scatter" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="accuracy against {_plain(cost)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">\n' + "\n".join(parts) + "\n</svg>"
    )


def _costs(first: float, last: float) -> list[float]:
    """Round values of a logarithmic axis between two logarithms."""
    decades = range(math.floor(first), math.ceil(last) + 1)
    values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return [value for value in values if first <= math.log10(value) <= last]


def _text(x: float, y: float, text: str, *, anchor: str = "middle", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    return escape(printable(text))
