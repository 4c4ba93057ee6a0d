"""What models predict of single inputs, as objects and as the cells of lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

_LARGE = 10_000
UNKNOWN = "unknown"
"""The label of an input that no class is probable enough for."""
INPUT = ("input", "text")
"""The first columns of a list of predictions."""


@dataclass(frozen=True, kw_only=True)
class Answer(ABC):
    """What a model says of one input, whatever its task."""

    input: str
    """The input's name: its path, or its file and row."""
    text: str | None
    """The input itself where it is a text."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @abstractmethod
    def cells(self, *, listed: bool) -> list[str]:
        """What a line of the terminal shows of it. listed: with what else is probable."""


@dataclass(frozen=True, kw_only=True)
class Prediction(Answer):
    """The most probable class of one input.

    >>> import numpy as np
    >>> (one,) = zooadapt.load("digits04").predict(np.zeros((8, 8), np.uint8))
    >>> one.probabilities[one.label] == one.probability
    True
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]
    """Of the most probable classes, or of all, the most probable one first."""

    def cells(self, *, listed: bool) -> list[str]:
        others = list(self.probabilities.items())[1:] if listed else []
        cells = [self.label, f"{self.probability:.4f}"]
        return cells + [cell for name, p in others for cell in (name, f"{p:.4f}")]


@dataclass(frozen=True, kw_only=True)
class WindowPrediction(Prediction):
    """The same of a part of a recording, whose name is `input`; `start` and `end` are seconds."""

    start: float
    end: float
    background: bool = False
    """Whether the label is that of what is no class of interest."""


def shortened(answer: Any, top: int | None) -> Any:
    """The same with probabilities of the `top` most probable classes, or of all."""
    if not isinstance(answer, Prediction):
        return answer
    return replace(answer, probabilities=dict(list(answer.probabilities.items())[:top]))


@dataclass(frozen=True, kw_only=True)
class NumberPrediction(Answer):
    """What a model of numbers predicts of one input."""

    value: float | Mapping[str, float]
    """The number, or those of several columns by name."""
    interval: tuple[float, float] | Mapping[str, tuple[float, float]] | None
    """The 90 % interval of each, where the model knows one."""

    def cells(self, *, listed: bool) -> list[str]:
        if not isinstance(self.value, Mapping):
            return [figure(self.value), *_between(self.interval)]
        intervals = self.interval if isinstance(self.interval, Mapping) else {}
        return [
            cell
            for name, number in self.value.items()
            for cell in (name, figure(number), *_between(intervals.get(name)))
        ]


def figure(number: float) -> str:
    """A number to five digits."""
    return f"{number:,.0f}" if abs(number) >= _LARGE else f"{number:.5g}"


def _between(interval: Any) -> list[str]:
    return [] if interval is None else [f"{figure(interval[0])} to {figure(interval[1])}"]
