"""The head: rows kept for classes the source already knows, and a frozen backbone's head solved.

A head on frozen features is a convex problem, so it is solved, not stepped: ridge regression whose
leave-one-out predictions are exact and free, which chooses the L2 and gives an honest accuracy
without holding anything out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

L2_PATH = tuple(10.0**exponent for exponent in np.arange(-5.0, 2.01, 0.5))
"""Candidate L2 penalties, as multiples of the mean squared feature norm."""

_CHUNK = 8192


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """A solved head, and what it would have said of each sample had it not seen that sample."""

    weight: Tensor
    """`(K, D)`, fp32."""
    bias: Tensor
    """`(K,)`, fp32."""
    held_out_logits: Tensor
    """`(n, K)`: leave-one-out logits of the training samples."""
    l2: float
    scale: float
    """Factor already folded into weight and bias so that softmax gives probabilities."""


def carry_rows(
    head: nn.Module, classes: Sequence[str],
    source_classes: Sequence[str] | None, source_weight: Tensor | None, source_bias: Tensor | None,
) -> list[str]:
    """Start a head: the source's rows, bit for bit, for classes it knows by name, zeros elsewhere.

    Returns the names of the carried classes; a zero head starts from even probabilities.
    """
    carried = []
    with torch.no_grad():
        head.weight.zero_()
        if head.bias is not None:
            head.bias.zero_()
        if source_classes is not None and source_weight is not None:
            rows = {name: row for row, name in enumerate(source_classes)}
            for row, name in enumerate(classes):
                if name in rows and source_weight[rows[name]].shape == head.weight[row].shape:
                    head.weight[row] = source_weight[rows[name]]
                    if head.bias is not None and source_bias is not None:
                        head.bias[row] = source_bias[rows[name]]
                    carried.append(name)
    return carried


def install(head: nn.Module, fit: HeadFit) -> None:
    """Write a solved head into the network's own layer."""
    with torch.no_grad():
        head.weight.copy_(fit.weight.view_as(head.weight))
        if head.bias is not None:
            head.bias.copy_(fit.bias)


def solve(
    features: Tensor, labels: Tensor, num_classes: int, *, class_weights: Tensor | None = None
) -> HeadFit:
    """Ridge regression onto one-hot targets with an unpenalised bias, L2 by exact leave-one-out.

    features: `(n, D)`, any float dtype, may be memory-mapped (read in chunks of rows).
    labels: `(n,)` int64. class_weights: `(K,)`, a sample's weight by its class.
    One eigendecomposition of the smaller of the `n x n` and `D x D` Gram matrices serves every
    candidate of `L2_PATH`; leave-one-out residuals are the residuals over `1 - leverage` (Allen
    1974, PRESS). The L2 kept has the lowest leave-one-out cross-entropy, each candidate's logits
    scaled by the temperature that suits them best (Guo et al. 2017); that scale is folded in.
    """
    n = len(labels)
    weights = torch.ones(n, dtype=torch.float64)
    if class_weights is not None:
        weights = class_weights.double()[labels]
    weights = weights * (n / weights.sum())
    targets = nn.functional.one_hot(labels, num_classes).double() * 2 - 1
    problem = _Ridge(features, targets, weights)

    best: tuple[float, float, float] | None = None
    for multiple in L2_PATH:
        l2 = multiple * problem.mean_square
        scale, loss = _best_scale(problem.held_out(l2), labels, weights)
        if best is None or loss < best[0]:
            best = (loss, l2, scale)
    _, l2, scale = best
    weight, bias = problem.solution(l2)
    return HeadFit(
        weight=(scale * weight).float(), bias=(scale * bias).float(),
        held_out_logits=(scale * problem.held_out(l2)).float(), l2=float(l2), scale=float(scale),
    )


class _Ridge:
    """Weighted, centred ridge regression in the eigenbasis of its smaller Gram matrix, float64."""

    def __init__(self, features: Tensor, targets: Tensor, weights: Tensor) -> None:
        self.features, self.weights = features, weights
        n, dim = features.shape
        total = weights.sum()
        self.mean = sum(w @ x for x, w in self._chunks(weights)) / total
        self.target_mean = weights @ targets / total
        self.targets = targets - self.target_mean
        self.root = weights.sqrt()[:, None]
        if n <= dim:
            rows = (features.double() - self.mean) * self.root
            values, vectors = torch.linalg.eigh(rows @ rows.T)
            keep = values > values.max().clamp_min(1e-30) * 1e-12
            self.values = values[keep]
            self.basis = rows.T @ (vectors[:, keep] / self.values.sqrt())
            self.projected = vectors[:, keep] * self.values.sqrt()
        else:
            gram = torch.zeros(dim, dim, dtype=torch.float64)
            for x, w in self._chunks(weights):
                centred = x - self.mean
                gram.addmm_(centred.T, centred * w[:, None])
            values, vectors = torch.linalg.eigh(gram)
            keep = values > values.max().clamp_min(1e-30) * 1e-12
            self.values, self.basis = values[keep], vectors[:, keep]
            self.projected = torch.cat(
                [(x - self.mean) @ self.basis * w.sqrt()[:, None] for x, w in self._chunks(weights)]
            )
        self.moment = self.projected.T @ (self.targets * self.root)
        self.mean_square = float(self.values.sum() / n)

    def held_out(self, l2: float) -> Tensor:
        """`(n, K)` predictions for each sample by the solution without it."""
        shrink = 1 / (self.values + l2)
        fitted = self.projected @ (shrink[:, None] * self.moment) / self.root
        leverage = (self.projected.square() @ shrink)[:, None] + (
            self.weights / self.weights.sum()
        )[:, None]
        residual = (self.targets - fitted) / (1 - leverage).clamp_min(1e-9)
        return self.targets + self.target_mean - residual

    def solution(self, l2: float) -> tuple[Tensor, Tensor]:
        """`(K, D)` weight and `(K,)` bias."""
        weight = (self.basis @ (self.moment / (self.values + l2)[:, None])).T
        return weight, self.target_mean - weight @ self.mean

    def _chunks(self, weights: Tensor):
        for start in range(0, len(weights), _CHUNK):
            rows = slice(start, start + _CHUNK)
            yield self.features[rows].double(), weights[rows]


def _best_scale(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, float]:
    """The factor on the logits with the lowest weighted cross-entropy, and that cross-entropy:
    convex in the factor, found by Newton's method on its derivative."""
    scale = 1.0
    chosen = logits.gather(1, labels[:, None])[:, 0]
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
    loss = nn.functional.cross_entropy(scale * logits, labels, reduction="none")
    return scale, float(share @ loss)
