"""Accuracy, macro-F1, calibration and the confusion matrix, each with its uncertainty, in NumPy:
importing a metrics library takes seconds, more than a whole linear probe."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

BINS = 15
MAX_MATRIX_CLASSES = 200
"""A confusion of more classes is written as cells: the matrix would have over 40,000 numbers."""
_DRAWS = 1000
_CELLS_DRAWN = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Predictions of nearly equal confidence."""

    n: int
    confidence: float
    """Their mean confidence."""
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The gap between the confidence of predictions and their accuracy."""

    error: float
    """Expected calibration error over `BINS` bins of equal mass."""
    by_chance: float
    """The value expected of that error for as many predictions with exact confidences: it is above
    0 for few samples."""
    bins: tuple[Bin, ...]
    """The bins from the lowest to the highest confidence: a reliability diagram."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The confusion matrix of K classes as its cells above 0, in order. Their number grows with
    that of the samples, not with the square of K."""

    classes: int
    """K."""
    true: np.ndarray
    """`(m,)` true class of each cell."""
    predicted: np.ndarray
    """`(m,)` predicted class of each cell."""
    counts: np.ndarray
    """`(m,)`; a sample predicted R times counts R times."""

    @property
    def of_class(self) -> np.ndarray:
        """`(K,)` predictions for samples of each class."""
        return self._summed(self.true, self.counts)

    @property
    def as_class(self) -> np.ndarray:
        """`(K,)` predictions of each class."""
        return self._summed(self.predicted, self.counts)

    @property
    def hits(self) -> np.ndarray:
        """`(K,)` right predictions of each class."""
        return self._summed(self.true, self.counts * (self.true == self.predicted))

    def matrix(self) -> np.ndarray:
        """`(K, K)` counts, rows true, columns predicted."""
        whole = np.zeros((self.classes, self.classes), dtype=np.int64)
        whole[self.true, self.predicted] = self.counts
        return whole

    def to_json(self) -> dict[str, Any]:
        """`confusion` is the matrix; above `MAX_MATRIX_CLASSES` classes it is None and
        `confusion_cells` has true class, predicted class and count of each cell."""
        if self.classes <= MAX_MATRIX_CLASSES:
            return {"confusion": self.matrix().tolist()}
        cells = np.stack([self.true, self.predicted, self.counts], axis=1)
        return {"confusion": None, "confusion_cells": cells.tolist()}

    def _summed(self, of: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return np.bincount(of, counts, minlength=self.classes).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The scores of a model on `n` labelled samples."""

    accuracy: float
    macro_f1: float
    """Mean F1 over the classes that occur in the labels or the predictions."""
    balanced_accuracy: float
    """Mean recall over the classes that occur in the labels."""
    n: int
    interval: tuple[float, float]
    """95 % Wilson interval of the accuracy."""
    macro_f1_interval: tuple[float, float]
    """95 % bootstrap interval."""
    balanced_accuracy_interval: tuple[float, float]
    calibration: Calibration | None
    """None for predictions without confidence."""
    confusion: Confusion

    def details(self) -> dict[str, Any]:
        return self.confusion.to_json()

    def summary(self) -> dict[str, Any]:
        calibrated = self.calibration
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "balanced_accuracy": self.balanced_accuracy,
            "n": self.n,
            "interval": list(self.interval),
            "macro_f1_interval": list(self.macro_f1_interval),
            "balanced_accuracy_interval": list(self.balanced_accuracy_interval),
        } | ({"ece": calibrated.error, "ece_by_chance": calibrated.by_chance} if calibrated else {})


def measure(
    predicted: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    confidence: np.ndarray | None = None,
    distinct: int | None = None,
) -> Metrics:
    """Metrics of predicted against `(n,)` true class indices; n >= 1.

    predicted: `(R * n,)`, every sample R times over, as from repeated cross-validation; intervals
    are those of n samples, or of `distinct` ones where some are duplicates. confidence: the
    probability of each prediction.
    """
    n, times = len(labels), len(predicted) // len(labels)
    distinct = n if distinct is None else distinct
    true = np.tile(labels, times)
    confusion = confuse(true, predicted, num_classes)
    right = predicted == true
    interval = wilson(float(right.mean()) * distinct, distinct)
    f1, balanced = _class_means(confusion)
    f1_interval, balanced_interval = _bootstrap(confusion, distinct)
    if right.all():  # a bootstrap of samples without an error has none, however few they are
        f1_interval = balanced_interval = interval
    return Metrics(
        accuracy=float(right.mean()),
        n=n,
        interval=interval,
        confusion=confusion,
        macro_f1=f1,
        balanced_accuracy=balanced,
        macro_f1_interval=f1_interval,
        balanced_accuracy_interval=balanced_interval,
        calibration=None if confidence is None else calibration(confidence, right),
    )


def of_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, *, distinct: int | None = None
) -> Metrics:
    """Metrics, with calibration, of `(R * n, K)` probabilities, as `measure`."""
    return measure(
        probabilities.argmax(1),
        labels,
        probabilities.shape[1],
        confidence=probabilities.max(1),
        distinct=distinct,
    )


def confuse(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> Confusion:
    """The confusion of `(n,)` predicted and true classes."""
    cells, counts = np.unique(true * num_classes + predicted, return_counts=True)
    rows, columns = np.divmod(cells, num_classes)
    return Confusion(classes=num_classes, true=rows, predicted=columns, counts=counts)


def _class_means(confusion: Confusion) -> tuple[float, float]:
    """Macro-F1 and balanced accuracy."""
    counts = confusion.hits, confusion.of_class, confusion.as_class
    f1, balanced = _means(*(each[None] for each in counts))
    return float(f1[0]), float(balanced[0])


def _means(
    hits: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):
        f1, recall = 2 * hits / (true + predicted), hits / true
    return np.nanmean(f1, axis=1), np.nanmean(recall, axis=1)


def _bootstrap(confusion: Confusion, n: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % bootstrap intervals of macro-F1 and balanced accuracy for n samples (Efron 1979), less
    the bootstrap's bias. Resampling samples is resampling the counts of the cells."""
    counts = confusion.counts
    # Classes that occur in neither have no score.
    occurring, number = np.unique([confusion.true, confusion.predicted], return_inverse=True)
    (true, predicted), classes = number.reshape(2, -1), len(occurring)
    draws = min(_DRAWS, max(100, _CELLS_DRAWN // len(counts)))
    drawn = np.random.default_rng(0xB007).multinomial(n, counts / counts.sum(), size=draws)

    def by_class(cells: np.ndarray, of: np.ndarray) -> np.ndarray:
        sums = np.zeros((draws, classes))
        order = np.argsort(of, kind="stable")
        names, starts = np.unique(of[order], return_index=True)
        sums[:, names] = np.add.reduceat(cells[:, order], starts, axis=1)
        return sums

    hits = by_class(drawn * (true == predicted), true)
    scores = _means(hits, by_class(drawn, true), by_class(drawn, predicted))
    f1, balanced = (
        tuple(np.clip(np.quantile(each, [0.025, 0.975]) + score - each.mean(), 0, 1).tolist())
        for each, score in zip(scores, _class_means(confusion), strict=True)
    )
    return f1, balanced


def calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Expected calibration error of `(n,)` confidences of predictions that are right or not, in
    bins of equal mass (Nixon et al. 2019, arXiv 1904.01685)."""
    order = np.argsort(confidence, kind="stable")
    error = chance = 0.0
    bins = []
    for bin in np.array_split(order, min(BINS, len(order))):
        inside = confidence[bin]
        mean, accuracy = float(inside.mean()), float(right[bin].mean())
        bins.append(Bin(n=len(bin), confidence=mean, accuracy=accuracy))
        error += abs(mean - accuracy) * len(bin)
        variance = float((inside * (1 - inside)).sum())
        chance += math.sqrt(2 / math.pi * variance)  # mean distance of a sum from its expectation
    return Calibration(error=error / len(order), by_chance=chance / len(order), bins=tuple(bins))


def wilson(right: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), which holds at small n and near 0 and 1."""
    p, z2 = right / n, z * z / n
    centre = (p + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same samples."""

    name: str
    """The second one's."""
    n: int
    better: int
    """Samples that only the first one has right, or about which it is less wrong."""
    worse: int
    """Samples that only the second one has right, or about which it is less wrong."""
    p: float
    """Of McNemar's exact test, which is a sign test."""

    @property
    def significant(self) -> bool:
        """Whether p is below `LEVEL`."""
        return self.p < LEVEL

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"told_apart": self.significant}


def compare(name: str, errors: np.ndarray, others: np.ndarray) -> Comparison:
    """Two models by how wrong each is about `(n,)` samples: a sign test on the samples where they
    differ, which for right and wrong is McNemar's exact test."""
    better, worse = int((errors < others).sum()), int((errors > others).sum())
    p = sign_test(better, worse)
    return Comparison(name=name, n=len(errors), better=better, worse=worse, p=p)


def sign_test(better: int, worse: int) -> float:
    """The two-sided p of pairs divided so unevenly, were either way equally probable."""
    differ = better + worse
    logs = [
        math.lgamma(differ + 1) - math.lgamma(k + 1) - math.lgamma(differ - k + 1)
        for k in range(min(better, worse) + 1)
    ]
    tail = sum(math.exp(one - differ * math.log(2)) for one in logs)
    return min(1.0, 2 * tail)
