"""The probability from which on a model gives a sample a label."""

from __future__ import annotations

from typing import Any

import numpy as np

from zooadapt.errors import DataError

EVEN = 0.5


def for_f1(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """For each label the threshold with the highest F1 on these `(n, L)` probabilities, halfway
    between two of them; the highest of several; `EVEN` for a label that no sample has."""
    return tuple(
        _for_f1(of_label, truth) for of_label, truth in zip(probabilities.T, labels.T, strict=True)
    )


def checked(thresholds: Any, count: int) -> tuple[float, ...]:
    """Thresholds of an export's config.

    Raises: DataError where they are no `count` probabilities.
    """
    fits = isinstance(thresholds, list) and len(thresholds) == count
    if not fits or not all(type(one) in (int, float) and 0 <= one <= 1 for one in thresholds):
        raise DataError(
            f"config.json: 'thresholds' is not a list of {count} probabilities",
            thing="thresholds",
            remedy="export the model again",
        )
    return tuple(map(float, thresholds))


def _for_f1(probabilities: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return EVEN
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(float)
    ends = np.flatnonzero(np.diff(ranked, append=-1.0))
    hits = np.cumsum(truth[order])[ends]
    best = ends[(2 * hits / (ends + 1 + truth.sum())).argmax()]
    following = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + following) / 2)
