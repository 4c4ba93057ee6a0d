"""Errors and correlations of predicted numbers, each with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt.tasks.metrics import wilson

_DRAWS = 1000
_MOST_DRAWN = 20_000_000
"""Samples times drawings, at most."""
_LEAST_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score and its 95 % bootstrap interval (Efron 1979)."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ColumnMetrics:
    """The scores of one column of numbers."""

    name: str
    mae: Estimate
    """Mean absolute error, in the units of the labels."""
    rmse: Estimate
    """Root of the mean squared error, in the units of the labels."""
    r2: Estimate
    """Share of the variance that is explained; below 0 for a model worse than the mean."""
    pearson: Estimate
    spearman: Estimate
    r2_log: Estimate | None
    """R2 of the logarithms, for numbers that are learned as such."""
    coverage: Estimate | None
    """Share of the labels within the 90 % intervals of the model, with its Wilson interval."""

    def to_json(self) -> dict[str, Any]:
        """Every score with its interval, flat."""
        facts: dict[str, Any] = {}
        for name in ("mae", "rmse", "r2", "pearson", "spearman", "r2_log", "coverage"):
            estimate = getattr(self, name)
            if estimate is not None:
                facts |= {name: estimate.value, f"{name}_interval": list(estimate.interval)}
        return facts


@dataclass(frozen=True, kw_only=True)
class NumberMetrics:
    """The scores of a model of numbers on `n` labelled samples."""

    n: int
    columns: tuple[ColumnMetrics, ...]

    def summary(self) -> dict[str, Any]:
        """Means over the columns; the interval of a mean is that of the columns' own, averaged,
        which is wide rather than narrow."""
        each = [column.to_json() for column in self.columns]
        keys = [key for key in each[0] if all(key in one for one in each)]
        return {"n": self.n} | {
            key: np.mean([one[key] for one in each], axis=0).tolist() for key in keys
        }

    def details(self) -> dict[str, Any]:
        if len(self.columns) == 1:
            return {}
        return {"columns": {column.name: column.to_json() for column in self.columns}}


def measure(
    answers: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    logs: bool,
    distinct: int | None,
) -> NumberMetrics:
    """Metrics of `(R * n, K)` answers, every sample R times over, against `(n, K)` labels.

    bounds: ends of intervals. logs: whether the logarithms count too. distinct: how many samples
    are no duplicates, which intervals are for.
    """
    n, times = len(labels), len(answers) // len(labels)
    distinct = n if distinct is None else distinct
    true = np.tile(labels, (times, 1))
    draws = max(_LEAST_DRAWS, min(_DRAWS, _MOST_DRAWN // max(1, distinct)))
    drawn = np.random.default_rng(0xB007).integers(n, size=(draws, max(1, distinct)))
    columns = []
    for k, name in enumerate(names):
        inside = None
        if bounds is not None:
            inside = (bounds[0][:, k] <= true[:, k]) & (true[:, k] <= bounds[1][:, k])
        columns.append(_column(name, answers[:, k], true[:, k], n, drawn, inside, logs=logs))
    return NumberMetrics(n=n, columns=tuple(columns))


def _column(
    name: str,
    answers: np.ndarray,
    true: np.ndarray,
    n: int,
    drawn: np.ndarray,
    inside: np.ndarray | None,
    *,
    logs: bool,
) -> ColumnMetrics:
    def estimate(score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Estimate:
        value = float(score(answers[None], true[None])[0])
        first, own = answers[:n], true[:n]
        values = np.concatenate(
            [score(first[part], own[part]) for part in np.array_split(drawn, 8)]
        )
        low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
        return Estimate(value=value, interval=(min(float(low), value), max(float(high), value)))

    logged = logs and bool((answers > 0).all() and (true > 0).all())
    coverage = None
    if inside is not None:
        share, count = float(inside.mean()), drawn.shape[1]
        coverage = Estimate(value=share, interval=wilson(share * count, count))
    return ColumnMetrics(
        name=name,
        mae=estimate(lambda a, t: np.abs(a - t).mean(1)),
        rmse=estimate(lambda a, t: np.sqrt(np.square(a - t).mean(1))),
        r2=estimate(_r2),
        pearson=estimate(_pearson),
        spearman=estimate(lambda a, t: _pearson(_ranks(a), _ranks(t))),
        r2_log=estimate(lambda a, t: _r2(np.log(a), np.log(t))) if logged else None,
        coverage=coverage,
    )


def _r2(answers: np.ndarray, true: np.ndarray) -> np.ndarray:
    spread = np.square(true - true.mean(1, keepdims=True)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - np.square(answers - true).sum(1) / spread)


def _pearson(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """0 where one of them is constant, as the mean is."""
    a, b = one - one.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    product = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    out = np.zeros(len(a))
    return np.asarray(np.divide((a * b).sum(1), product, out=out, where=product > 0))


def _ranks(rows: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(rows, axis=1))
