"""The one standard error rule: which model to take, by losses on the same samples."""

from __future__ import annotations

import math

from torch import Tensor

CONVINCED = 0.5
"""Standard errors by which a model has to be better than a simpler one. A whole one would keep the
solved head of most small sets, the gain of ten points of accuracy on omniglot_latin included."""
TIED = 1.0
"""Standard errors within which models that are better than the first one are as good as the best of
them. With ten labels a class it gained a point over taking the best; with all labels, nothing."""


def simplest(losses: list[Tensor]) -> tuple[int, float, float]:
    """The candidate to take, of several in order of simplicity, by their losses on the same
    samples, `(n,)` each: the first that is worse than the one of the lowest mean by no more than
    `TIED` standard errors of their paired difference, `CONVINCED` for the very first (the one
    standard error rule of Breiman et al. 1984). With it, what it gains over the very first, and the
    standard error of that; of the best one after it where the very first is to be taken."""
    best = min(range(len(losses)), key=lambda k: float(losses[k].mean()))
    for k in range(best + 1):
        gain, noise = _gain(losses[k], losses[best])
        if gain <= (TIED if k else CONVINCED) * noise:
            break
    others = range(1, len(losses))
    shown = k or min(others, key=lambda other: float(losses[other].mean()), default=0)
    return (k, *_gain(losses[0], losses[shown]))


def _gain(losses: Tensor, others: Tensor) -> tuple[float, float]:
    gap = losses - others
    return float(gap.mean()), float(gap.std() / math.sqrt(len(gap))) if len(gap) > 1 else math.inf
