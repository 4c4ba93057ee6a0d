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
    predicted = []
    for part in torch.split(queries, _CHUNK):
        cosines, neighbours = (nn.functional.normalize(part, dim=1) @ rows.T).topk(
            min(k, len(rows))
        )
        votes = torch.zeros(len(part), num_classes)
        votes.scatter_add_(1, labels[neighbours], cosines.clamp_min(1e-6))
        predicted.append(votes.argmax(1))
    return torch.cat(predicted).numpy()
