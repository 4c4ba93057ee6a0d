"""Numbers that are probably wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooadapt.runtime.wording import counted, listed

_ODD = 50
"""Distances between the quartiles."""


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
