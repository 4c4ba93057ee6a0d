"""The figures of one epoch on the validation part, and the loss that compares epochs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zooadapt.heads import calibration


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Figures on the validation part. The loss is that at the best temperature: it compares epochs
    by how well they separate the classes, whatever their confidence."""

    loss: float
    accuracy: float
    score: float
    """The chosen metric: accuracy, or balanced accuracy."""
    scale: float
    losses: Tensor
    """`(n,)`, at that temperature."""


def validate(logits: Tensor, labels: Tensor, class_weights: Tensor, metric: str) -> Validation:
    """Figures of `(n, K)` logits against `(n,)` labels; for balanced accuracy every class has the
    same weight in total."""
    weights = torch.ones(len(logits), dtype=torch.float64)
    if metric != "accuracy":
        weights = class_weights[labels]
    scale, losses = calibration.best_scale(logits.double(), labels, weights)
    right = (logits.argmax(1) == labels).double()
    return Validation(
        loss=float(losses.mean()),
        accuracy=float(right.mean()),
        score=float((right * weights).sum() / weights.sum()),
        scale=max(scale, calibration.LEAST_SCALE),
        losses=losses,
    )
