"""Platt scaling: the scale and shift of every label's logits that calibrate its probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 50
_HALVINGS = 20
_CONVERGED = 1e-9
"""Squared length of a step, in units of a standardised logit."""
_LEAST_CURVATURE = 1e-12
_ROUNDING = 1e-12
"""Of logits that are all the same."""


def scales_and_shifts(
    logits: Tensor, labels: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The `(L,)` scales and shifts of `(n, L)` logits with the lowest weighted binary cross-entropy
    of every label, and the `(n,)` losses there, whose mean is that over all labels.

    labels: `(n, L)` of 0 and 1; weights: `(n,)` float64. Targets are Platt's (1999): a label on N
    samples has (N + 1) / (N + 2) in place of 1, one that is missing on M has 1 / (M + 2) in place
    of 0, so that no scale is infinite. The loss is convex in both; Newton's method finds it for all
    labels at once. No scale is below 0: held-out predictions from features that tell nothing lean
    to the wrong side, and a negative one would turn such noise into a head.
    """
    targets = _platt_targets(labels, weights)
    share = (weights / weights.sum())[:, None]
    mean = (share * logits).sum(0)
    deviation = (share * (logits - mean).square()).sum(0).sqrt()
    deviation = torch.where(deviation > _ROUNDING * logits.abs().amax(0), deviation, 0.0)
    rows = (logits - mean) / deviation.where(deviation > 0, 1.0)
    prior = (share * targets).sum(0).logit()
    a, b = torch.zeros_like(prior), prior.clone()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        each = nn.functional.binary_cross_entropy_with_logits(
            a * rows + b, targets, reduction="none"
        )
        return (share * each).sum(0)

    current = loss(a, b)
    for _ in range(_STEPS):
        p = torch.sigmoid(a * rows + b)
        slope, spread = share * (p - targets), share * p * (1 - p)
        down_a, down_b = (slope * rows).sum(0), slope.sum(0)
        aa = (spread * rows.square()).sum(0) + _LEAST_CURVATURE
        ab, bb = (spread * rows).sum(0), spread.sum(0) + _LEAST_CURVATURE
        determinant = (aa * bb - ab.square()).clamp_min(_LEAST_CURVATURE**2)
        step_a = (bb * down_a - ab * down_b) / determinant
        step_b = (aa * down_b - ab * down_a) / determinant
        length = torch.ones_like(a)
        for _ in range(_HALVINGS):
            following = loss(a - length * step_a, b - length * step_b)
            worse = following > current
            if not worse.any():
                break
            length = torch.where(worse, length / 2, length)
        length = torch.where(following <= current, length, 0.0)
        a, b = a - length * step_a, b - length * step_b
        current = torch.minimum(following, current)
        if float((length * (step_a.square() + step_b.square())).max()) < _CONVERGED:
            break
    a, b = torch.where(a > 0, a, 0.0), torch.where(a > 0, b, prior)
    scale = torch.where(deviation > 0, a / deviation.where(deviation > 0, 1.0), 0.0)
    shift = b - scale * mean
    losses = nn.functional.binary_cross_entropy_with_logits(
        scale * logits + shift, targets, reduction="none"
    )
    return scale, shift, losses.mean(1) * weights / weights.mean()


def best_scale(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The one factor on `(n, L)` logits with the lowest weighted binary cross-entropy, and the
    `(n,)` losses there, whose mean is that cross-entropy; as `calibration.best_scale` for
    classes."""
    smoothing = 1 / (int((weights > 0).sum()) + 2)
    targets = (1 - smoothing) * labels + smoothing / 2
    share = (weights / weights.sum())[:, None] / logits.shape[1]
    scale = 1.0
    for _ in range(30):
        p = torch.sigmoid(scale * logits)
        gradient = float((share * (p - targets) * logits).sum())
        curvature = float((share * p * (1 - p) * logits.square()).sum())
        step = gradient / max(curvature, 1e-9)
        next_scale = min(max(scale - step, scale / 4), scale * 4, 1e4)
        if abs(next_scale - scale) < 1e-6 * scale:
            break
        scale = next_scale
    losses = nn.functional.binary_cross_entropy_with_logits(
        scale * logits, targets, reduction="none"
    )
    return scale, losses.mean(1) * weights / weights.mean()


def _platt_targets(labels: Tensor, weights: Tensor) -> Tensor:
    counted = (weights > 0).double()
    positive = counted @ labels.double()
    negative = counted.sum() - positive
    return torch.where(labels > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
