"""Scores of predictions on a test part, their 95 % intervals, and paired differences of two sides.

Every side is scored by these functions from what it predicted for the same rows, whatever metrics
its library prints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score

from zooadapt.tasks.metrics import wilson

DRAWS = 2000
Score = Callable[[np.ndarray, np.ndarray], float]


def accuracy(targets: np.ndarray, rows: np.ndarray) -> float:
    return float((rows.argmax(1) == targets).mean())


def mean_average_precision(targets: np.ndarray, rows: np.ndarray) -> float:
    """Mean over the labels that occur."""
    occurring = targets.any(0)
    return float(average_precision_score(targets[:, occurring], rows[:, occurring]))


def r2(targets: np.ndarray, rows: np.ndarray) -> float:
    spread = ((targets - targets.mean()) ** 2).sum()
    return float(1 - ((targets - rows[:, 0]) ** 2).sum() / spread)


def pearson(targets: np.ndarray, rows: np.ndarray) -> float:
    """0 for a constant prediction, which correlates with nothing."""
    if np.ptp(rows) == 0:
        return 0.0
    return float(np.corrcoef(targets, rows[:, 0])[0, 1])


def absolute_error(targets: np.ndarray, rows: np.ndarray) -> float:
    return float(np.abs(targets - rows[:, 0]).mean())


def log_r2(targets: np.ndarray, rows: np.ndarray) -> float:
    """R2 of the logarithm; a prediction below the smallest target counts as that one."""
    return r2(np.log(targets), np.log(np.maximum(rows, targets.min())))


SCORES: dict[str, dict[str, Score]] = {
    "classification": {"accuracy": accuracy},
    "multilabel": {"mAP": mean_average_precision},
    "regression": {"R2": r2, "Pearson": pearson, "MAE": absolute_error},
}
"""Of each task, by name; the first decides."""
LOWER_IS_BETTER = ("MAE",)


def scores_of(kind: str, *, positive: bool) -> dict[str, Score]:
    """The scores of a task; `positive` numbers are scored by their logarithm first."""
    return ({"R2 of the logarithm": log_r2} if positive else {}) | SCORES[kind]


def interval(score: Score, targets: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """95 %: Wilson's for an accuracy, percentiles of a bootstrap over the test rows else."""
    if score is accuracy:
        n = len(targets)
        return wilson(accuracy(targets, rows) * n, n)
    return _percentiles([score(targets[k], rows[k]) for k in _draws(len(targets))])


def difference(
    score: Score, targets: np.ndarray, rows: np.ndarray, others: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """The score of `rows` less that of `others`, with the 95 % interval of a paired bootstrap: both
    sides are scored on the same drawn test rows."""
    drawn = [
        score(targets[k], rows[k]) - score(targets[k], others[k]) for k in _draws(len(targets))
    ]
    return score(targets, rows) - score(targets, others), _percentiles(drawn)


def _draws(n: int) -> np.ndarray:
    return np.random.default_rng(0xB007).integers(n, size=(DRAWS, n))


def _percentiles(values: list[float]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
