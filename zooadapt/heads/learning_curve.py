"""A learning curve from stored features: the accuracy that more labels would likely bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows, chosen
from zooadapt.data.splits import assign_parts
from zooadapt.heads.fitting import HeadFit

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the samples used, those that heads are fitted on; all are measured on the other half."""
MOST = 4000
"""Samples used, at most: a head on half of them is fitted in a fraction of a second."""
_DRAWS = 10
"""Drawings of a small set; larger ones are drawn less often, for the same work."""
_LEAST = 40
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Point:
    """A head fitted on `samples` training samples."""

    samples: int
    accuracy: float
    """Mean over the drawings."""
    n: int
    """Samples that each drawing is measured on."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy by number of labels, the power law through the errors, and its extrapolation."""

    points: tuple[Point, ...]
    exponent: float
    """b of error = a * samples ** -b."""
    exponent_interval: tuple[float, float]
    twice: float
    """Accuracy predicted for twice the labels."""
    twice_interval: tuple[float, float]
    """95 %, of the gain alone, without the uncertainty of the present accuracy."""

    @property
    def sentence(self) -> str:
        """The accuracy that twice the labels would likely bring, in words."""
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
    targets: np.ndarray,
    used: np.ndarray,
    fit: HeadFit,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> Curve | None:
    """The learning curve of a ridge head on growing stratified parts of `(n, D)` features, each
    measured on the same half, which no head is fitted on; the last point is `fit` on all samples,
    by its held-out predictions. None for fewer than a few dozen samples, or fewer samples used than
    classes.

    labels: `(n,)` true classes, to measure on; targets: `(n,)` classes to fit; used: `(n,)` whether
    to fit a sample. Every head has the L2 of `fit`: it bounds the weights, whatever the number of
    samples.
    """
    classes = fit.weight.shape[0]
    if min(len(labels), MOST) < max(_LEAST, classes):
        return None
    sampled = np.arange(len(labels))
    if len(labels) > MOST:
        share = MOST / len(labels)
        sampled = np.flatnonzero(assign_parts(labels, (share, 1 - share), seed, groups) == 0)
    x, true, targets = chosen(rows, sampled).double(), labels[sampled], targets[sampled]
    used, groups = used[sampled], None if groups is None else groups[sampled]
    drawn: dict[float, list[tuple[int, float, int]]] = {share: [] for share in SHARES}
    steps = np.diff((0.0, *SHARES, 1.0)).tolist()
    for number in range(max(1, min(_DRAWS, MOST // len(sampled)))):
        part = assign_parts(true, steps, seed + number, groups)
        held_out = part == len(SHARES)
        for k, share in enumerate(SHARES):
            train = np.flatnonzero((part <= k) & used)
            if not len(train) or not held_out.any():
                return None
            logits = _ridge_logits(x[train], targets[train], classes, fit.l2, x[held_out])
            accuracy = float((logits.argmax(1).numpy() == true[held_out]).mean())
            drawn[share].append((len(train), accuracy, int(held_out.sum())))
    points = [
        Point(
            samples=round(float(np.mean([size for size, _, _ in each]))),
            accuracy=float(np.mean([accuracy for _, accuracy, _ in each])),
            n=each[0][2],
        )
        for each in drawn.values()
    ]
    predicted = fit.held_out_logits.argmax(1).numpy()
    accuracy = float((predicted == np.tile(labels, len(predicted) // len(labels))).mean())
    points.append(Point(samples=len(labels), accuracy=accuracy, n=len(labels)))
    return extrapolate(points)


def extrapolate(points: Sequence[Point]) -> Curve:
    """The power law through errors at several sizes, by weighted least squares on logarithms
    (Cortes et al. 1994; Hestness et al. 2017, arXiv 1712.00409), and the accuracy for twice the
    last size. Scatter beyond that of the samples widens the interval; the predicted accuracy is
    never below the last one."""
    n = np.array([point.n for point in points], dtype=float)
    error = (n * (1 - np.array([point.accuracy for point in points])) + 0.5) / (n + 1)
    weights = n * error / (1 - error)
    sizes = np.log([point.samples for point in points])
    x = sizes - np.average(sizes, weights=weights)
    y = np.log(error)
    spread = float(weights @ x**2)
    slope = float(weights @ (x * y)) / spread
    residuals = y - np.average(y, weights=weights) - slope * x
    excess = max(1.0, float(weights @ residuals**2) / (len(points) - 2))
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


def _ridge_logits(
    x: Tensor, labels: np.ndarray, classes: int, l2: float, held_out: Tensor
) -> Tensor:
    """`(m, K)` predictions of ridge regression for held-out rows, by the smaller Gram matrix."""
    y = nn.functional.one_hot(torch.from_numpy(labels), classes).double()
    mean, target = x.mean(0), y.mean(0)
    x, y, held_out = x - mean, y - target, held_out - mean
    primal = len(x) > x.shape[1]
    gram = x.T @ x if primal else x @ x.T
    gram.diagonal().add_(l2)
    root = torch.linalg.cholesky(gram)
    if primal:
        return held_out @ torch.cholesky_solve(x.T @ y, root) + target
    return held_out @ (x.T @ torch.cholesky_solve(y, root)) + target
