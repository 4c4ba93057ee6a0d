"""Temperature scaling: the factor on logits that calibrates their probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_SCALE = 1e-3
"""Where all held-out predictions are wrong, as with one sample a class, the best factor is 0; this
one keeps the classes distinguishable in fp32."""


def best_scale(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The factor on `(n, K)` logits with the lowest weighted cross-entropy, and the `(n,)` losses
    there, whose mean is that cross-entropy.

    weights: `(n,)` float64. Temperature scaling (Guo et al. 2017) is convex in the factor; Newton's
    method finds it. The loss at the best factor measures how well the logits separate the classes,
    whatever their confidence (Berta et al. 2025, arXiv 2501.19195, compare epochs by it). Labels
    are smoothed by 1/(n + 2), the error rate after n right predictions by Laplace's rule of
    succession: without it, the factor for a few separable samples is infinite, and their loss 0.
    """
    smoothing = 1 / (int((weights > 0).sum()) + 2)
    scale = 1.0
    target = (1 - smoothing) * logits.gather(1, labels[:, None])[:, 0] + smoothing * logits.mean(1)
    share = weights / weights.sum()
    for _ in range(30):
        p = torch.softmax(scale * logits, dim=1)
        expected = (p * logits).sum(1)
        gradient = float(share @ (expected - target))
        curvature = float(share @ ((p * logits.square()).sum(1) - expected.square()))
        step = gradient / max(curvature, 1e-9)
        next_scale = min(max(scale - step, scale / 4), scale * 4, 1e4)
        if abs(next_scale - scale) < 1e-6 * scale:
            break
        scale = next_scale
    losses = nn.functional.cross_entropy(
        scale * logits, labels, reduction="none", label_smoothing=smoothing
    )
    return scale, losses * weights / weights.mean()
