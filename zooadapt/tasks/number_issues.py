"""Numbers that are probably wrong: held-out residuals far beyond those of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks.label_issues import DROP, LabelIssues

FAR = 5.0
"""Robust standard deviations of the residuals from which on a label is doubted. Of a million
residuals of a normal distribution, none is so far out."""
_LEAST = 20
"""Samples below which the spread of residuals says little."""
_NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""
_ODD = 50
"""Distances between the quartiles."""


@dataclass(frozen=True, kw_only=True)
class NumberIssues(LabelIssues):
    """Numbers far from what was predicted; `names` are the given and the predicted ones."""

    column: np.ndarray
    """`(s,)` the column of each."""
    predicted: np.ndarray
    """`(s,)` the predicted numbers."""

    def apply(self, labels: np.ndarray, action: str) -> tuple[list[Any], list[bool], int]:
        """`relabel` takes the predicted number, `drop` leaves the sample out. At least half of the
        samples stay as they are."""
        targets, used = labels.copy(), np.ones(len(labels), dtype=bool)
        most = len(labels) // 2
        rows = self.index[:most]
        if action == DROP:
            used[rows] = False
        else:
            targets[rows, self.column[:most]] = self.predicted[:most]
        return targets.tolist(), used.tolist(), len(rows)


def find(
    predicted: np.ndarray, labels: np.ndarray, values: np.ndarray, numbers: np.ndarray
) -> LabelIssues:
    """Numbers whose residual is beyond `FAR` robust standard deviations in some column.

    predicted, labels: `(n, K)` on the scale of training; values, numbers: the same in their units,
    of which the issues name those of the column that is furthest off. The score is
    `1 - FAR / (2 * distance)`: 0.5 at `FAR`, and 1 infinitely far.
    """
    residuals = predicted - labels
    centred = np.abs(residuals - np.median(residuals, axis=0))
    spread = _NORMAL * np.median(centred, axis=0)
    far = centred / np.maximum(spread, 1e-300)
    worst = far.argmax(1)
    distance = far[np.arange(len(labels)), worst]
    reliable = len(labels) >= _LEAST and bool((spread > 0).all())
    index = np.flatnonzero((distance > FAR) & reliable)
    index = index[np.argsort(-distance[index], kind="stable")]
    given, likelier = numbers[index, worst[index]], values[index, worst[index]]
    return NumberIssues(
        index=index,
        given=np.arange(len(index)),
        likelier=len(index) + np.arange(len(index)),
        score=1 - FAR / (2 * distance[index]),
        of=len(labels),
        names=[f"{number:.6g}" for number in (*given, *likelier)],
        reliable=reliable,
        column=worst[index],
        predicted=likelier,
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
