"""Transferability scores of the literature, which stand beside leave-one-out for reference."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LEAST = 1e-12
"""Of the largest eigenvalue: what is below is rounding."""
_DECADES = 12
_GRID, _ZOOM, _ZOOMS = 241, 16, 5
"""Points of the first search, one in a tenth of a decade, and of each finer one."""


def log_evidence(features: Tensor, labels: Tensor, num_classes: int) -> float:
    """LogME (You et al. 2021, arXiv 2102.11005): the log evidence of a Bayesian linear model of
    each class' 0 and 1 by `(n, D)` features, over n, at the prior and noise that maximise it; the
    mean over the classes that occur in the `(n,)` labels.

    The paper reaches the maximum by a fixed-point iteration. With the noise in closed form it is
    one over the ratio t of prior to noise precision, which is searched here.
    """
    rows, targets = features.double(), _targets(labels, num_classes)
    values, moments = _projections(rows, targets)
    squares, whole = moments.square(), targets.square().sum(0)
    residual = (whole - squares.sum(0)).clamp_min(0)
    n = len(rows)

    def evidence(t: Tensor, squares: Tensor, residual: Tensor) -> Tensor:
        """`(G,)` for `(G,)` ratios, given `(r,)` squares."""
        shrunk = t / (t + values[:, None])
        noise = (squares @ shrunk + residual).clamp_min(1e-300) / n
        return -(noise.mul(2 * math.pi).log() + 1) / 2 + shrunk.log().sum(0) / (2 * n)

    scores = []
    middle = math.log(float(values.max())) if len(values) else 0.0
    reach = _DECADES * math.log(10)
    for square, rest in zip(squares.T, residual, strict=True):
        low, high, count = middle - reach, middle + reach, _GRID
        for _ in range(_ZOOMS):
            grid = torch.linspace(low, high, count, dtype=torch.float64)
            heights = evidence(grid.exp(), square, rest)
            best = int(heights.argmax())
            low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, count - 1)])
            count = _ZOOM
        scores.append(float(heights.max()))
    return sum(scores) / len(scores)


def h_score(features: Tensor, labels: Tensor, num_classes: int) -> float:
    """The H-score (Bao et al. 2019, arXiv 2212.10082): the trace of the inverse covariance of
    `(n, D)` features times the covariance of their class means; from 0 to the number of classes
    that occur less one, which it reaches where the features have as many dimensions as there are
    samples."""
    rows, targets = features.double(), _targets(labels, num_classes)
    _, moments = _projections(rows - rows.mean(0), targets)
    return float((moments.square().sum(0) / targets.sum(0)).sum())


def _targets(labels: Tensor, num_classes: int) -> Tensor:
    """`(n, K)` of 0 and 1, of the classes that occur."""
    targets = nn.functional.one_hot(labels, num_classes).double()
    return targets[:, targets.any(0)]


def _projections(rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`(r,)` squared singular values of the `(n, D)` rows above rounding, and `(r, K)` products of
    their left singular vectors with the targets."""
    n, dim = rows.shape
    values, vectors = torch.linalg.eigh(rows @ rows.T if n <= dim else rows.T @ rows)
    keep = values > values.max().clamp_min(1e-300) * _LEAST
    values, vectors = values[keep], vectors[:, keep]
    if n <= dim:
        return values, vectors.T @ targets
    return values, vectors.T @ (rows.T @ targets) / values.sqrt()[:, None]
