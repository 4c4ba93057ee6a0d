"""What a model says of the samples that were held out, in one loss that compares models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zooadapt.heads import calibration


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation part at one moment: the loss at the temperature that suits it best, which
    tells epochs apart by what they know and not by how sure they are of it."""

    loss: float
    accuracy: float
    score: float
    """What was asked for: the accuracy, or that with every class counting the same."""
    scale: float
    losses: Tensor
    """`(n,)` loss of each sample, at that temperature."""


def validate(logits: Tensor, labels: Tensor, class_weights: Tensor, metric: str) -> Validation:
    """What `(n, K)` logits say of `(n,)` labels; for balanced accuracy, classes count alike."""
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
