"""Feature rows that stream from memory or disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Rows = Callable[[], Iterator[Tensor]]
"""Each call gives an iterator over feature rows in order, `(m, D)` at a time."""


def in_memory(rows: Tensor) -> Rows:
    """`(n, D)` rows that are there already."""
    return lambda: iter([rows])


def chosen(rows: Rows, indices: np.ndarray) -> Tensor:
    """`(m, D)` rows at ascending indices `(m,)`."""
    parts, start = [], 0
    for chunk in rows():
        inside = indices[(indices >= start) & (indices < start + len(chunk))]
        parts.append(chunk[inside - start])
        start += len(chunk)
    return torch.cat(parts)
