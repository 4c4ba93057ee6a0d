"""Accuracy, macro-F1 and the confusion matrix, in NumPy: importing a metrics library costs seconds
of start-up, more than the work of a whole probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a model got right on `n` labelled samples."""

    accuracy: float
    macro_f1: float
    """Mean F1 over the classes that occur in the labels or the predictions."""
    balanced_accuracy: float
    """Mean recall over the classes that occur in the labels."""
    n: int
    interval: tuple[float, float]
    """95 % Wilson interval of the accuracy."""
    confusion: np.ndarray
    """`(K, K)` counts, rows true, columns predicted."""

    def summary(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "balanced_accuracy": self.balanced_accuracy,
            "n": self.n,
            "interval": list(self.interval),
        }


def measure(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> Metrics:
    """Metrics of `(n,)` predicted against `(n,)` true class indices; n >= 1."""
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hits, true, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    occurs, either = true > 0, (true + said) > 0
    n, right = int(confusion.sum()), int(hits.sum())
    return Metrics(
        accuracy=right / n,
        n=n,
        interval=wilson(right, n),
        confusion=confusion,
        macro_f1=float((2 * hits[either] / (true + said)[either]).mean()),
        balanced_accuracy=float((hits[occurs] / true[occurs]).mean()),
    )


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927): honest at small n and near 0 and 1."""
    p, z2 = right / n, z * z / n
    centre = (p + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)
