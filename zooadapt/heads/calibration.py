"""Temperature scaling: the factor on logits that makes probabilities of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_SCALE = 1e-3
"""Where predictions for samples not seen are wrong throughout, as with one sample a class, the best
factor on the logits is none; what is left at this one still tells classes apart in fp32."""


def best_scale(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The factor on `(n, K)` logits with the lowest weighted cross-entropy, and the `(n,)` losses
    there, whose mean is that cross-entropy.

    weights: `(n,)` float64. Temperature scaling (Guo et al. 2017): convex in the factor, found by
    Newton's method. What is left of the loss says how well classes are told apart, whatever the
    confidence (Berta et al. 2025, arXiv 2501.19195: compare epochs by that). 1/(n + 2) of each
    label, the error of n right ones by Laplace's rule of succession, is spread over all classes:
    few samples that all are told apart would otherwise ask for an endless factor and leave no loss.
    """
    doubt = 1 / (int((weights > 0).sum()) + 2)
    scale = 1.0
    chosen = (1 - doubt) * logits.gather(1, labels[:, None])[:, 0] + doubt * logits.mean(1)
    share = weights / weights.sum()
    for _ in range(30):
        p = torch.softmax(scale * logits, dim=1)
        expected = (p * logits).sum(1)
        gradient = float(share @ (expected - chosen))
        curvature = float(share @ ((p * logits.square()).sum(1) - expected.square()))
        step = gradient / max(curvature, 1e-9)
        after = min(max(scale - step, scale / 4), scale * 4, 1e4)
        if abs(after - scale) < 1e-6 * scale:
            break
        scale = after
    losses = nn.functional.cross_entropy(
        scale * logits, labels, reduction="none", label_smoothing=doubt
    )
    return scale, losses * weights / weights.mean()
