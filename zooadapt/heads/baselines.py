"""Baselines of any model that look at features: the nearest neighbours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.tasks.task import Task

NEIGHBOURS = 5
_CHUNK = 1024


def nearest(
    features: Tensor, labels: Tensor, queries: Tensor, task: Task, *, k: int = NEIGHBOURS
) -> np.ndarray:
    """Answers for `(m, D)` queries by the `k` nearest of `(n, D)` training features, each of which
    votes with its cosine."""
    rows = nn.functional.normalize(features, dim=1)
    return torch.cat(
        [
            _vote(nn.functional.normalize(part, dim=1) @ rows.T, labels, task, k)
            for part in torch.split(queries, _CHUNK)
        ]
    ).numpy()


def nearest_others(
    features: Tensor,
    labels: Tensor,
    task: Task,
    *,
    groups: np.ndarray | None = None,
    k: int = NEIGHBOURS,
) -> np.ndarray:
    """Answers for `(n, D)` features by the `k` nearest of the others, leave-one-out. groups:
    `(n,)`, equal for samples that are left out together."""
    rows = nn.functional.normalize(features, dim=1)
    own = torch.arange(len(rows)) if groups is None else torch.from_numpy(groups)
    return torch.cat(
        [
            _vote(
                (rows[part] @ rows.T).masked_fill(own[part, None] == own, -torch.inf),
                labels,
                task,
                k,
            )
            for part in torch.split(torch.arange(len(rows)), _CHUNK)
        ]
    ).numpy()


def _vote(cosines: Tensor, labels: Tensor, task: Task, k: int) -> Tensor:
    """Answers by `(m, n)` cosines; a sample at minus infinity does not vote."""
    nearest, neighbours = cosines.topk(min(k, cosines.shape[1]))
    weights = nearest.clamp_min(1e-6).where(nearest.isfinite(), 0.0)
    return task.vote(weights, labels[neighbours])
