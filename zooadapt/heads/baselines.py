"""Baselines of any model: the most frequent class, and the nearest neighbours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

NEIGHBOURS = 5
_CHUNK = 1024


def majority(labels: np.ndarray, n: int) -> np.ndarray:
    """`(n,)` predictions: the most frequent of the training labels."""
    return np.full(n, np.bincount(labels).argmax())


def nearest(
    features: Tensor, labels: Tensor, queries: Tensor, num_classes: int, *, k: int = NEIGHBOURS
) -> np.ndarray:
    """`(m,)` predictions for `(m, D)` queries by the `k` nearest of `(n, D)` training features,
    each of which votes with its cosine."""
    rows = nn.functional.normalize(features, dim=1)
    return torch.cat(
        [
            _vote(nn.functional.normalize(part, dim=1) @ rows.T, labels, num_classes, k)
            for part in torch.split(queries, _CHUNK)
        ]
    ).numpy()


def nearest_others(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    groups: np.ndarray | None = None,
    k: int = NEIGHBOURS,
) -> np.ndarray:
    """`(n,)` predictions for `(n, D)` features by the `k` nearest of the others, leave-one-out.
    groups: `(n,)`, equal for samples that are left out together."""
    rows = nn.functional.normalize(features, dim=1)
    own = torch.arange(len(rows)) if groups is None else torch.from_numpy(groups)
    return torch.cat(
        [
            _vote(
                (rows[part] @ rows.T).masked_fill(own[part, None] == own, -torch.inf),
                labels,
                num_classes,
                k,
            )
            for part in torch.split(torch.arange(len(rows)), _CHUNK)
        ]
    ).numpy()


def _vote(cosines: Tensor, labels: Tensor, num_classes: int, k: int) -> Tensor:
    """`(m,)` predictions by `(m, n)` cosines; a sample at minus infinity does not vote."""
    nearest, neighbours = cosines.topk(min(k, cosines.shape[1]))
    weights = nearest.clamp_min(1e-6).where(nearest.isfinite(), 0.0)
    votes = torch.zeros(len(cosines), num_classes)
    return votes.scatter_add_(1, labels[neighbours], weights).argmax(1)
