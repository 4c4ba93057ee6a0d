"""Multinomial logistic regression on frozen features, preconditioned so that few passes suffice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows
from zooadapt.heads.ridge import Ridge

_ITERATIONS = 100
_TOLERANCE = 1e-4


class Logistic:
    """Minimisers of the weighted mean cross-entropy + l2 / 2 * |weight|^2, by L-BFGS (Liu & Nocedal
    1989), each started from the one before; the bias is not penalised.

    Works in the eigenbasis of the features' Gram matrix, scaled for about the same curvature in
    every direction. Rows stream: memory does not grow with `n`. L2 penalties are multiples of the
    mean squared distance of a row from the mean row.
    """

    def __init__(
        self, rows: Rows, labels: Tensor, num_classes: int, weights: Tensor, geometry: Ridge
    ) -> None:
        """labels: `(n,)` int64; weights: `(n,)` float64, samples of weight 0 are left out;
        geometry: of the same rows, of all samples."""
        self._rows, self._labels, self._classes = rows, labels, num_classes
        self._weights = (weights / weights.sum()).float()
        self._geometry = geometry
        self._start = np.zeros(0)

    def fit_head(self, l2: float) -> tuple[Tensor, Tensor]:
        """`(K, D)` weight and `(K,)` bias, fp32, for one penalty."""
        from scipy.optimize import minimize

        geometry, penalty = self._geometry, l2 * self._geometry.mean_square
        curvature = geometry.values / len(self._labels) * (1 / self._classes) + penalty
        back = (geometry.basis / curvature.sqrt()).float()
        mean, dim = geometry.mean.float(), back.shape[1]

        def unpack(flat: np.ndarray) -> tuple[Tensor, Tensor]:
            table = torch.from_numpy(flat).float().view(self._classes, dim + 1)
            return table[:, :dim] @ back.T, table[:, dim]

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weight, bias = unpack(flat)
            loss, by_weight = 0.5 * penalty * float(weight.square().sum()), penalty * weight
            by_bias, start = torch.zeros_like(bias), 0
            for part in self._rows():
                inside = slice(start, start + len(part))
                start += len(part)
                share, y = self._weights[inside], self._labels[inside]
                x = part - mean
                logits = x @ weight.T + bias
                each = nn.functional.cross_entropy(logits, y, reduction="none")
                loss += float(each @ share)
                error = torch.softmax(logits, 1)
                error[torch.arange(len(y)), y] -= 1
                error *= share[:, None]
                by_weight = by_weight + error.T @ x
                by_bias += error.sum(0)
            gradient = torch.cat([by_weight @ back, by_bias[:, None]], 1)
            return loss, gradient.double().numpy().ravel()

        if not len(self._start):
            self._start = np.zeros(self._classes * (dim + 1))
        optimum = minimize(objective, self._start, jac=True, method="L-BFGS-B",
                           options={"maxiter": _ITERATIONS, "gtol": _TOLERANCE})  # fmt: skip
        weight, bias = unpack(optimum.x)
        self._start = optimum.x
        return weight, bias - weight @ mean
