"""Predictions of numbers as objects, as the lines of a list, and by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zooadapt.tasks.figures import Table
from zooadapt.tasks.number_metrics import NumberMetrics
from zooadapt.tasks.predictions import INPUT, NumberPrediction


def predictions(
    names: Sequence[str],
    values: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    inputs: Sequence[str],
    texts: Sequence[str | None],
) -> list[NumberPrediction]:
    """The predictions of n inputs by `(n, K)` values and the ends of their intervals."""
    said = []
    for k, (name, text, row) in enumerate(zip(inputs, texts, values.tolist(), strict=True)):
        between = None
        if bounds is not None:
            between = list(zip(bounds[0][k].tolist(), bounds[1][k].tolist(), strict=True))
        one = len(names) == 1
        value: Any = row[0] if one else dict(zip(names, row, strict=True))
        interval: Any = between and (between[0] if one else dict(zip(names, between, strict=True)))
        said.append(NumberPrediction(input=name, text=text, value=value, interval=interval))
    return said


def first_columns() -> tuple[str, ...]:
    """The first columns of a list; those of the numbers follow."""
    return INPUT


def of_predictions(
    names: Sequence[str], said: Sequence[NumberPrediction], *, truth: np.ndarray | None
) -> tuple[list[str], Iterator[list[Any]]]:
    """Columns and lines of a list: of each number the true one where it is known, the predicted
    one, and the ends of its interval."""
    one = len(names) == 1
    columns = list(INPUT)
    for name in names:
        after = "" if one else f" of {name}"
        true = ["truth"] if truth is not None else []
        columns += [what + after for what in (*true, "value", "low", "high")]

    def lines() -> Iterator[list[Any]]:
        for row, prediction in enumerate(said):
            line: list[Any] = [prediction.input, prediction.text or ""]
            for k, name in enumerate(names):
                value, interval = prediction.value, prediction.interval
                number = value[name] if isinstance(value, Mapping) else value
                ends = interval[name] if isinstance(interval, Mapping) else interval
                line += [] if truth is None else [float(truth[row, k])]
                line += [number, *(ends or ("", ""))]
            yield line

    return columns, lines()


def by_column(metrics: NumberMetrics) -> list[Table]:
    """The scores of each of several columns."""
    if len(metrics.columns) == 1:
        return []
    rows = [
        [one.name, *(f"{each.value:.4g}" for each in (one.r2, one.mae, one.rmse, one.spearman))]
        for one in metrics.columns
    ]
    return [Table(title="by column", columns=["", "R2", "MAE", "RMSE", "Spearman"], rows=rows)]
