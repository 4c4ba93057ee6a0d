"""Predicted classes of samples, as objects and as the lines of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zooadapt.data import Split
from zooadapt.data.dataset import Window

UNKNOWN = "unknown"
"""The label of an input that no class is probable enough for."""
PREDICTED = ("input", "text", "label", "probability")
"""The first columns of a list of predictions; probabilities of the classes follow."""
MEASURED = ("input", "text", "truth", "label", "probability", "correct")
"""The same where true classes are known; `correct` is `yes` or `no`."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most probable class of one input.

    >>> import numpy as np
    >>> (one,) = zooadapt.load("digits04").predict(np.zeros((8, 8), np.uint8))
    >>> one.probabilities[one.label] == one.probability
    True
    """

    input: str
    """The input's name: its path, or its file and row."""
    text: str | None
    """The input itself where it is a text."""
    label: str
    probability: float
    probabilities: Mapping[str, float]
    """Of the most probable classes, or of all, the most probable one first."""


@dataclass(frozen=True, kw_only=True)
class WindowPrediction(Prediction):
    """The same of a part of a recording, whose name is `input`; `start` and `end` are seconds."""

    start: float
    end: float
    background: bool = False
    """Whether the label is that of what is no class of interest."""


def of_probabilities(
    split: Split,
    classes: Sequence[str],
    probabilities: np.ndarray,
    *,
    top: int | None,
    reject_below: float = 0.0,
    background: str | None = None,
) -> list[Prediction]:
    """The predictions for `(n, K)` probabilities of a split's samples. top: how many classes each
    has probabilities of, by default all; reject_below: the least probability of a label;
    background: the class that is no class of interest, in windows of recordings."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    predictions = [
        Prediction(
            input=name,
            text=split.text(index),
            label=UNKNOWN if row[best[0]] < reject_below else classes[best[0]],
            probability=float(row[best[0]]),
            probabilities={classes[k]: float(row[k]) for k in best},
        )
        for index, (name, row, best) in enumerate(zip(split.ids, probabilities, order, strict=True))
    ]
    return [_in_time(one, split.window(k), background) for k, one in enumerate(predictions)]


def _in_time(prediction: Prediction, window: Window | None, background: str | None) -> Prediction:
    if window is None:
        return prediction
    return WindowPrediction(
        **vars(prediction) | {"input": window.recording},
        start=window.start,
        end=window.end,
        background=prediction.label == background,
    )


def shortened(prediction: Prediction, top: int | None) -> Prediction:
    """The same with probabilities of the `top` most probable classes, or of all."""
    first = dict(list(prediction.probabilities.items())[:top])
    return replace(prediction, probabilities=first)


def table(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    *,
    top: int | None,
    truth: Sequence[str] | None = None,
) -> tuple[list[str], Iterator[list[Any]]]:
    """Columns and lines of a list: with a column for the probability of each class, in the order of
    the classes; with `top`, the next labels and their probabilities instead."""
    columns = list(PREDICTED if truth is None else MEASURED)
    in_time = any(isinstance(one, WindowPrediction) for one in predictions)
    columns += ["start", "end"] if in_time else []
    if top is None:
        columns += [f"probability of {name}" for name in classes]
    else:
        ranks = range(2, min(top, len(classes)) + 1)
        columns += [f"{what} {rank}" for rank in ranks for what in ("label", "probability")]

    def lines() -> Iterator[list[Any]]:
        for number, one in enumerate(predictions):
            line: list[Any] = [one.input, one.text or ""]
            line += [] if truth is None else [truth[number]]
            line += [one.label, one.probability]
            if truth is not None:
                line.append("yes" if truth[number] == one.label else "no")
            if isinstance(one, WindowPrediction):
                line += [one.start, one.end]
            if top is None:
                line += [one.probabilities[name] for name in classes]
            else:
                line += [cell for pair in list(one.probabilities.items())[1:] for cell in pair]
            yield line

    return columns, lines()
