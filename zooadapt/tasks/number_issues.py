"""Numbers that are probably wrong: held-out residuals far beyond those of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks.label_issues import LabelIssues

FAR = 5.0
"""Robust standard deviations of the residuals from which on a label is doubted. Of a million
residuals of a normal distribution, none is so far out."""
_ODD = 50
"""Distances between the quartiles."""
_LEAST = 20
"""Samples below which the spread of residuals says little."""
_NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""


def find(
    predicted: np.ndarray, labels: np.ndarray, values: np.ndarray, numbers: np.ndarray
) -> LabelIssues:
    """Labels whose residual is beyond `FAR` robust standard deviations in some column.

    predicted, labels: `(n, K)` on the scale of training; values, numbers: the same in their units,
    of which the issues name those of the column that is furthest off. A residual of 2 * `FAR` has a
    score of 1, as `1 - FAR / (2 * residual)` at `FAR` is 0.5.
    """
    residuals = predicted - labels
    centred = np.abs(residuals - np.median(residuals, axis=0))
    spread = _NORMAL * np.median(centred, axis=0)
    far = centred / np.maximum(spread, 1e-300)
    worst = far.argmax(1)
    rows = np.arange(len(labels))
    distance = far[rows, worst]
    reliable = len(labels) >= _LEAST and bool((spread > 0).all())
    index = np.flatnonzero((distance > FAR) & reliable)
    index = index[np.argsort(-distance[index], kind="stable")]
    return LabelIssues(
        index=index,
        given=numbers[index, worst[index]],
        likelier=values[index, worst[index]],
        score=np.clip(1 - FAR / (2 * distance[index]), 0, 1),
        of=len(labels),
        reliable=reliable,
    )


def remarks(names: Sequence[str], labels: np.ndarray) -> list[str]:
    """Numbers `(n, K)` that are so far from all others that they may be slips of the pen."""
    notes = []
    for name, column in zip(names, labels.T, strict=True):
        spread = float(np.subtract(*np.quantile(column, [0.75, 0.25])))
        far = np.flatnonzero(abs(column - np.median(column)) > _ODD * spread)
        if spread > 0 and len(far):
            values = listed([f"{value:g}" for value in column[far]])
            count = counted(len(far), "number is", "numbers are")
            notes.append(f"{count} far from all others in column '{name}': {values}")
    return notes
