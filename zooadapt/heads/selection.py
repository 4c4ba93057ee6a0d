"""The one standard error rule: which model to choose, by losses on the same samples."""

from __future__ import annotations

import math

from torch import Tensor

CONVINCED = 0.5
"""Standard errors by which a model has to be better than the simplest one. A whole one would keep
the linear probe on most small sets, and lose the gain of ten points of accuracy on omniglot_latin.
"""
TIED = 1.0
"""Standard errors within which models better than the first one tie with the best of them. With ten
labels a class this gained a point over choosing the best; with all labels, nothing."""


def simplest(losses: list[Tensor]) -> tuple[int, float, float]:
    """The candidate to choose, of several from simple to complex, by their `(n,)` losses on the
    same samples: the first that is worse than the one of the lowest mean by no more than `TIED`
    standard errors of their paired difference, `CONVINCED` for the very first (the one standard
    error rule of Breiman et al. 1984). With it, its gain over the very first and the standard error
    of that gain; where the very first is chosen, those of the best of the others."""
    best = min(range(len(losses)), key=lambda k: float(losses[k].mean()))
    for k in range(best + 1):
        gain, noise = _gain(losses[k], losses[best])
        if gain <= (TIED if k else CONVINCED) * noise:
            break
    others = range(1, len(losses))
    compared = k or min(others, key=lambda other: float(losses[other].mean()), default=0)
    return (k, *_gain(losses[0], losses[compared]))


def _gain(losses: Tensor, others: Tensor) -> tuple[float, float]:
    gap = losses - others
    return float(gap.mean()), float(gap.std() / math.sqrt(len(gap))) if len(gap) > 1 else math.inf
