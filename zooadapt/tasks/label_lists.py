"""Predictions of several labels as objects, as the lines of a list, and as a table of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt.errors import UsageError
from zooadapt.tasks.figures import Table
from zooadapt.tasks.label_metrics import Interval, LabelMetrics
from zooadapt.tasks.predictions import INPUT, Answer

JOINT = "|"
"""Joins labels in one cell, as in the tables that are read."""
NONE = "–"
"""What a line of the terminal shows where there is nothing."""
_MOST_LISTED = 40
"""Labels whose scores a terminal shows."""


@dataclass(frozen=True, kw_only=True)
class LabelSet(Answer):
    """The labels of one input: those whose probability reaches their threshold."""

    labels: tuple[str, ...]
    """The most probable one first."""
    probabilities: Mapping[str, float]
    """Of the most probable labels, or of all, the most probable one first."""

    def cells(self, *, listed: bool) -> list[str]:
        cells = [", ".join(self.labels) or NONE]
        each = self.probabilities.items() if listed else ()
        return cells + [cell for name, p in each for cell in (name, f"{p:.4f}")]


def label_sets(
    names: Sequence[str],
    probabilities: np.ndarray,
    decisions: np.ndarray,
    inputs: Sequence[str],
    texts: Sequence[str | None],
    *,
    top: int | None,
    reject_below: float,
) -> list[LabelSet]:
    """The labels of n inputs by `(n, L)` probabilities and decisions, as `Task.say` gives them.

    Raises: UsageError when inputs can be rejected: one without any label has no other answer.
    """
    if reject_below > 0:
        raise UsageError(
            "a model of several labels may answer with none of them, so no input is rejected",
            thing="--reject-below",
            remedy="leave it out and compare the probabilities",
        )
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        LabelSet(
            input=name,
            text=text,
            labels=tuple(names[k] for k in best if chosen[k]),
            probabilities={names[k]: float(row[k]) for k in best[:top]},
        )
        for name, text, row, chosen, best in zip(
            inputs, texts, probabilities, decisions, order, strict=True
        )
    ]


def first_columns(*, measured: bool) -> tuple[str, ...]:
    """The first columns of a list; `correct` is `yes` where no label is wrong or missing."""
    true, right = (("truth",), ("correct",)) if measured else ((), ())
    return (*INPUT, *true, "labels", *right)


def of_label_sets(
    names: Sequence[str],
    said: Sequence[LabelSet],
    *,
    top: int | None,
    truth: np.ndarray | None,
) -> tuple[list[str], Iterator[list[Any]]]:
    """Columns and lines of a list: with a column for the probability of each label, in their order;
    with `top`, the most probable labels and their probabilities instead."""
    columns = list(first_columns(measured=truth is not None))
    if top is None:
        columns += [f"probability of {name}" for name in names]
    else:
        ranks = range(1, min(top, len(names)) + 1)
        columns += [f"{what} {rank}" for rank in ranks for what in ("label", "probability")]

    def lines() -> Iterator[list[Any]]:
        for number, one in enumerate(said):
            labels = sorted(one.labels, key=names.index)
            line: list[Any] = [one.input, one.text or ""]
            if truth is None:
                line.append(JOINT.join(labels))
            else:
                true = [names[k] for k in np.flatnonzero(truth[number]).tolist()]
                line += [JOINT.join(true), JOINT.join(labels), "yes" if true == labels else "no"]
            if top is None:
                line += [one.probabilities[name] for name in names]
            else:
                line += [cell for pair in one.probabilities.items() for cell in pair]
            yield line

    return columns, lines()


def table(metrics: LabelMetrics) -> list[Table]:
    """The scores of few labels."""
    if len(metrics.labels) > _MOST_LISTED:
        return []
    return [
        Table(
            title="labels",
            columns=["label", "n", "average precision", "95 % interval", "precision", "recall",
                     "F1", "threshold"],
            rows=rows(metrics),
            short=["", "n", "AP", "95 %", "prec.", "recall", "F1", "from"],
        )
    ]  # fmt: skip


def rows(metrics: LabelMetrics) -> list[list[Any]]:
    """For each label: name, samples, average precision with its interval, precision, recall, F1,
    threshold."""
    return [
        [
            one.label,
            one.n,
            _figure(one.average_precision),
            _range(one.average_precision_interval),
            _figure(one.precision),
            _figure(one.recall),
            _figure(one.f1),
            _figure(one.threshold),
        ]
        for one in metrics.labels
    ]


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _range(bounds: Interval | None) -> str:
    return "" if bounds is None else " to ".join(f"{bound:.3f}" for bound in bounds)
