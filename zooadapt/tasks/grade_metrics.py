"""How far predicted grades are from the true ones, with uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt.tasks import metrics
from zooadapt.tasks.metrics import Metrics

_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class GradeMetrics(Metrics):
    """The scores of a model of grades; those of classes beside the distances in grades."""

    kappa: float
    """Agreement beyond chance, distances squared (Cohen 1968)."""
    kappa_interval: tuple[float, float]
    """95 % bootstrap interval."""
    mae: float
    """Mean distance in grades."""
    mae_interval: tuple[float, float]

    def summary(self) -> dict[str, Any]:
        return super().summary() | {
            "kappa": self.kappa,
            "kappa_interval": list(self.kappa_interval),
            "mae": self.mae,
            "mae_interval": list(self.mae_interval),
        }


def measure(
    answers: np.ndarray,
    labels: np.ndarray,
    grades: int,
    *,
    confidence: np.ndarray | None,
    distinct: int | None,
) -> GradeMetrics:
    """Metrics of `(R * n,)` grades against `(n,)` true ones, as `metrics.measure`."""
    whole = metrics.measure(answers, labels, grades, confidence=confidence, distinct=distinct)
    cells = whole.confusion
    counts = cells.counts
    n = len(labels) if distinct is None else distinct
    drawn = np.random.default_rng(0xB007).multinomial(n, counts / counts.sum(), size=_DRAWS)
    both = np.vstack([counts, drawn])
    distance = np.abs(cells.true - cells.predicted)
    mae = both @ distance / both.sum(1)
    kappa = _kappa(both, cells.true, cells.predicted, grades)
    return GradeMetrics(
        **vars(whole),
        kappa=float(kappa[0]),
        kappa_interval=_between(kappa),
        mae=float(mae[0]),
        mae_interval=_between(mae),
    )


def _kappa(counts: np.ndarray, true: np.ndarray, predicted: np.ndarray, grades: int) -> np.ndarray:
    """`(d,)` for `(d, m)` counts of cells; 0 where either side is constant, as chance is."""
    total = counts.sum(1)
    seen = counts @ np.square(true - predicted) / total
    levels = np.arange(grades)
    rows, columns = (
        np.stack([counts[:, of == level].sum(1) for level in levels], 1) / total[:, None]
        for of in (true, predicted)
    )
    squares = np.square(levels[:, None] - levels)
    chance = np.einsum("di,ij,dj->d", rows, squares, columns)
    return np.where(chance > 0, 1 - seen / np.maximum(chance, 1e-300), 0.0)


def _between(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return min(float(low), float(values[0])), max(float(high), float(values[0]))
