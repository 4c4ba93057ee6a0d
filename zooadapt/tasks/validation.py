"""The figures of one epoch on the validation part, and the loss that compares epochs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Figures on the validation part. The loss is that at the best temperature: it compares epochs
    by how well they separate the classes, whatever their confidence."""

    loss: float
    accuracy: float
    """Or another task's own figure, of which 1 is the most."""
    score: float
    """The chosen metric: accuracy, balanced accuracy, or another task's own figure."""
    scale: float
    losses: Tensor
    """`(n,)`, at that temperature."""
