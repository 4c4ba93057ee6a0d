"""Predictions of classes as objects, as the lines of a list, and as a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zooadapt.errors import UsageError
from zooadapt.tasks.figures import Table
from zooadapt.tasks.metrics import Metrics
from zooadapt.tasks.predictions import INPUT, UNKNOWN, Prediction, WindowPrediction

_MOST_CROSSED = 12
"""Classes of a confusion matrix that a terminal shows."""


def predictions(
    classes: Sequence[str],
    probabilities: np.ndarray,
    inputs: Sequence[str],
    texts: Sequence[str | None],
    *,
    top: int | None,
    reject_below: float,
) -> list[Prediction]:
    """The predictions of n inputs by `(n, K)` probabilities, as `Task.say` gives them.

    Raises: UsageError when inputs can be rejected and there is a class of that name.
    """
    if reject_below > 0 and UNKNOWN in classes:
        raise UsageError(
            f"the model has a class '{UNKNOWN}', which is what a rejected input would be called",
            thing="--reject-below",
            remedy="leave it out and compare the probabilities",
        )
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        Prediction(
            input=name,
            text=text,
            label=UNKNOWN if row[best[0]] < reject_below else classes[best[0]],
            probability=float(row[best[0]]),
            probabilities={classes[k]: float(row[k]) for k in best},
        )
        for name, text, row, best in zip(inputs, texts, probabilities, order, strict=True)
    ]


def of_predictions(
    classes: Sequence[str],
    said: Sequence[Prediction],
    *,
    top: int | None,
    truth: np.ndarray | None,
) -> tuple[list[str], Iterator[list[Any]]]:
    """Columns and lines of a list: with a column for the probability of each class, in the order of
    the classes; with `top`, the next labels and their probabilities instead; `correct` is `yes` or
    `no`."""
    true, right = ((), ()) if truth is None else (("truth",), ("correct",))
    columns = [*INPUT, *true, "label", "probability", *right]
    columns += ["start", "end"] if any(isinstance(one, WindowPrediction) for one in said) else []
    if top is None:
        columns += [f"probability of {name}" for name in classes]
    else:
        ranks = range(2, min(top, len(classes)) + 1)
        columns += [f"{what} {rank}" for rank in ranks for what in ("label", "probability")]

    def lines() -> Iterator[list[Any]]:
        for number, one in enumerate(said):
            line: list[Any] = [one.input, one.text or ""]
            line += [] if truth is None else [classes[truth[number]]]
            line += [one.label, one.probability]
            if truth is not None:
                line.append("yes" if classes[truth[number]] == one.label else "no")
            if isinstance(one, WindowPrediction):
                line += [one.start, one.end]
            if top is None:
                line += [one.probabilities[name] for name in classes]
            else:
                line += [cell for pair in list(one.probabilities.items())[1:] for cell in pair]
            yield line

    return columns, lines()


def confusion(classes: Sequence[str], metrics: Metrics) -> list[Table]:
    """The confusion matrix of few classes."""
    if len(classes) > _MOST_CROSSED:
        return []
    pairs = enumerate(zip(classes, metrics.confusion.matrix(), strict=True), 1)
    rows = [[number, name, *row] for number, (name, row) in pairs]
    return [
        Table(
            title="true class (rows), predicted (columns)",
            columns=["", "", *classes],
            rows=rows,
            short=["", "", *(str(number) for number, *_ in rows)],
        )
    ]
