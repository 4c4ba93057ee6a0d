"""Feature rows that stream from memory or disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Rows = Callable[[], Iterator[Tensor]]
"""Feature rows in order, `(m, D)` at a time, as often as they are asked for."""


def chosen(rows: Rows, indices: np.ndarray) -> Tensor:
    """`(m, D)` rows at indices `(m,)`, which ascend."""
    parts, start = [], 0
    for chunk in rows():
        here = indices[(indices >= start) & (indices < start + len(chunk))]
        parts.append(chunk[here - start])
        start += len(chunk)
    return torch.cat(parts)
