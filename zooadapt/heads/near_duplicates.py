"""Near-duplicates by features, such as a photo that was recompressed or resized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows, chosen
from zooadapt.data import modalities

LEAST_DIRECTIONS = 24
"""Effective dimensions of features, at least, that distinguish a near-duplicate from a similar
sample. Photos have 58 and 73; pen-drawn letters, which these features confuse, 17; sentences 100 by
a transformer, 19 by a character LSTM, which sees little but their last words."""
_DAMPING = 0.1
"""Share of the largest variance that is added to every variance before whitening."""
_BASIS_SAMPLES = 1024
_MAX_DIRECTIONS = 256
_COARSE = 64
_CHUNK = 1024


def near_equal(digests: Sequence[bytes], rows: Rows, modality: str) -> dict[bytes, bytes]:
    """For the content of every near-duplicate the first content of its cluster; a chain of
    near-duplicates is one cluster. digests: the content of each of the `(n, D)` rows."""
    position: dict[bytes, int] = {}
    first = np.array([k for k, one in enumerate(digests) if position.setdefault(one, k) == k])
    if len(first) < 2:
        return {}
    whitened = _whitened(rows, first)
    if whitened is None:
        return {}
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _pairs(whitened, modalities.named(modality).near)
    size = (len(first),) * 2
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=size)
    cluster = connected_components(links, directed=False)[1]
    leader = np.unique(cluster, return_index=True)[1][cluster]
    return {
        digests[first[k]]: digests[first[leader[k]]]
        for k in np.flatnonzero(leader != np.arange(len(first))).tolist()
    }


def _whitened(rows: Rows, positions: np.ndarray) -> Tensor | None:
    """`(m, r)` whitened unit rows, in directions of a sample of them; None where the directions are
    too few to distinguish samples."""
    count = min(len(positions), _BASIS_SAMPLES)
    drawn = positions[np.linspace(0, len(positions) - 1, count).astype(int)]
    sample = chosen(rows, drawn).double()
    mean = sample.mean(0)
    values, vectors = torch.linalg.eigh((sample - mean) @ (sample - mean).T)
    values = values.flip(0).clamp_min(0)[:_MAX_DIRECTIONS]
    vectors = vectors.flip(1)[:, :_MAX_DIRECTIONS]
    damped = values + _DAMPING * values[0]
    if not values.isfinite().all() or not float((values / damped).sum()) >= LEAST_DIRECTIONS:
        return None
    significant = values > 1e-9 * values[0]
    basis = (sample - mean).T @ (vectors[:, significant] / values[significant].sqrt())
    basis = (basis / damped[significant].sqrt()).float()
    parts, start = [], 0
    for chunk in rows():
        inside = positions[(positions >= start) & (positions < start + len(chunk))]
        parts.append((chunk[inside - start] - mean.float()) @ basis)
        start += len(chunk)
    return nn.functional.normalize(torch.cat(parts), dim=1)


def _pairs(unit: Tensor, threshold: float) -> np.ndarray:
    """`(p, 2)` positions of rows whose cosine is at least `threshold`, each pair once. The first
    directions and the length of the rest bound the cosine: few cosines are computed in full."""
    rest = unit[:, _COARSE:].norm(dim=1, keepdim=True)
    coarse = torch.cat([unit[:, :_COARSE], rest], 1)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(unit), _CHUNK):
        bound = coarse[start : start + _CHUNK] @ coarse[start:].T
        near = (bound >= threshold - 1e-6).nonzero() + start
        near = near[near[:, 0] < near[:, 1]]
        for part in torch.split(near, 1 << 16):
            cosine = (unit[part[:, 0]] * unit[part[:, 1]]).sum(1)
            pairs.append(part[cosine >= threshold].numpy())
    return np.concatenate(pairs)
