"""A learning curve from features that are there already: what more labels would likely bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows, chosen
from zooadapt.data.splits import parted
from zooadapt.heads.fitting import HeadFit

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the samples looked at: what is learned from; the last half is what is measured on."""
MOST = 4000
"""Samples looked at: a head on half of them is solved in a fraction of a second."""
_DRAWS = 10
"""Drawings of a small set; larger ones are drawn less often, so that the work stays the same."""
_LEAST = 40
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Point:
    """A head solved on `samples` training samples."""

    samples: int
    accuracy: float
    """Mean over the drawings."""
    n: int
    """Samples that each drawing was measured on."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy by number of labels, the power law through the errors, and what it foretells."""

    points: tuple[Point, ...]
    exponent: float
    """b of error = a * samples ** -b."""
    exponent_interval: tuple[float, float]
    twice: float
    """Accuracy foretold for twice as many labels as there are."""
    twice_interval: tuple[float, float]
    """95 %, of the gain: how well the accuracy of today is known is not part of it."""

    @property
    def sentence(self) -> str:
        """What twice the labels would likely bring, in words."""
        last = self.points[-1]
        low, high = (round(100 * (bound - last.accuracy), 1) + 0.0 for bound in self.twice_interval)
        return (
            f"more labels: a head on frozen features has cross-validated accuracy "
            f"{last.accuracy:.3f} on these {last.samples} samples; twice the labels would likely "
            f"bring it to {self.twice:.3f}, {100 * (self.twice - last.accuracy):+.1f} points (95 % "
            f"interval {low:+.1f} to {high:+.1f})"
        )


def measure(
    rows: Rows,
    labels: np.ndarray,
    learned: np.ndarray,
    kept: np.ndarray,
    fit: HeadFit,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> Curve | None:
    """The learning curve of a ridge head on growing stratified parts of `(n, D)` features, each
    measured on the same half that none of them holds; its last point is `fit` on all of them, by
    what it says of samples it was solved without. None for fewer than a few dozen samples, or than
    classes among those that are looked at.

    labels: `(n,)` true classes, to measure by; learned: what to learn instead; kept: whether to
    learn from a sample at all. The L2 stays the same throughout: how large weights may be, not how
    many samples there are.
    """
    if min(len(labels), MOST) < max(_LEAST, fit.weight.shape[0]):
        return None
    looked = np.arange(len(labels))
    if len(labels) > MOST:
        share = MOST / len(labels)
        looked = np.flatnonzero(parted(labels, (share, 1 - share), seed, groups) == 0)
    x, true, learned = chosen(rows, looked).double(), labels[looked], learned[looked]
    kept, groups = kept[looked], None if groups is None else groups[looked]
    found: dict[float, list[tuple[int, float, int]]] = {share: [] for share in SHARES}
    steps = np.diff((0.0, *SHARES, 1.0))
    for number in range(max(1, min(_DRAWS, MOST // len(looked)))):
        part = parted(true, steps, seed + number, groups)
        asked = part == len(SHARES)
        for k, share in enumerate(SHARES):
            here = np.flatnonzero((part <= k) & kept)
            if not len(here) or not asked.any():
                return None
            logits = _fitted(x[here], learned[here], fit.weight.shape[0], fit.l2, x[asked])
            right = float((logits.argmax(1).numpy() == true[asked]).mean())
            found[share].append((len(here), right, int(asked.sum())))
    points = [
        Point(
            samples=round(float(np.mean([size for size, _, _ in each]))),
            accuracy=float(np.mean([right for _, right, _ in each])),
            n=each[0][2],
        )
        for each in found.values()
    ]
    said = fit.held_out_logits.argmax(1).numpy()
    right = float((said == np.tile(labels, len(said) // len(labels))).mean())
    points.append(Point(samples=len(labels), accuracy=right, n=len(labels)))
    return foretell(points)


def foretell(points: Sequence[Point]) -> Curve:
    """The power law through errors at several sizes, by weighted least squares on logarithms
    (Cortes et al. 1994; Hestness et al. 2017, arXiv 1712.00409), and the accuracy for twice the
    last size. Where the points scatter more than their sizes explain, so does the exponent; more
    labels are never foretold to harm."""
    n = np.array([point.n for point in points], dtype=float)
    error = (n * (1 - np.array([point.accuracy for point in points])) + 0.5) / (n + 1)
    weights = n * error / (1 - error)
    at = np.log([point.samples for point in points])
    inside = at - np.average(at, weights=weights)
    y = np.log(error)
    spread = float(weights @ inside**2)
    slope = float(weights @ (inside * y)) / spread
    left = y - np.average(y, weights=weights) - slope * inside
    excess = max(1.0, float(weights @ left**2) / (len(points) - 2))
    width = _Z * math.sqrt(excess / spread)
    exponent, low, high = (max(0.0, b) for b in (-slope, -slope - width, -slope + width))
    now = 1 - points[-1].accuracy
    return Curve(
        points=tuple(points),
        exponent=exponent,
        exponent_interval=(low, high),
        twice=1 - now * 2**-exponent,
        twice_interval=(1 - now * 2**-low, 1 - now * 2**-high),
    )


def _fitted(x: Tensor, labels: np.ndarray, classes: int, l2: float, asked: Tensor) -> Tensor:
    """`(m, K)` predictions of ridge regression for `asked`, in the smaller of the two forms."""
    y = nn.functional.one_hot(torch.from_numpy(labels), classes).double()
    mean, target = x.mean(0), y.mean(0)
    x, y, asked = x - mean, y - target, asked - mean
    primal = len(x) > x.shape[1]
    gram = x.T @ x if primal else x @ x.T
    gram.diagonal().add_(l2)
    root = torch.linalg.cholesky(gram)
    if primal:
        return asked @ torch.cholesky_solve(x.T @ y, root) + target
    return asked @ (x.T @ torch.cholesky_solve(y, root)) + target
