"""Scores of a model, and how tables show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_LARGE = 1000


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure that tables show: its title, its key in `Figures.summary`, and that of its 95 %
    interval."""

    title: str
    key: str
    interval: str | None = None

    def text(self, scores: Mapping[str, Any]) -> str:
        """The figure."""
        return _written(scores[self.key])

    def range(self, scores: Mapping[str, Any]) -> str:
        """Its interval; empty without one."""
        bounds = scores[self.interval] if self.interval is not None else None
        return "" if bounds is None else " to ".join(map(_written, bounds))

    def sentence(self, scores: Mapping[str, Any]) -> str:
        """Title, figure and interval."""
        between = self.range(scores)
        return f"{self.title} {self.text(scores)}" + (f" ({between})" if between else "")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures that people look at."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    short: Sequence[str] | None = None
    """Other names of the columns, for a narrow terminal."""


class Figures(Protocol):
    """The scores of a model on n labelled samples."""

    @property
    def n(self) -> int: ...

    def summary(self) -> dict[str, Any]:
        """Scores with intervals, as JSON."""
        ...

    def details(self) -> dict[str, Any]:
        """What a report holds beside the scores, such as the confusion matrix."""
        ...


def _written(figure: float) -> str:
    return f"{figure:.3f}" if abs(figure) < _LARGE else f"{figure:,.0f}"
