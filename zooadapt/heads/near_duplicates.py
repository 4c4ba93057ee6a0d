"""Samples that are nearly equal by their features, as a photo is that was saved or sized again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows, chosen

IMAGES_ALIKE, OTHERS_ALIKE = 0.9, 0.999
"""Cosine of whitened features from which two samples are nearly equal. Measured on flowers5 and
trashnet6 with two networks: of 1,408 photos different ones have at most 0.87, three pairs that
show one thing from one place 0.91 and more; of 300 photos saved or sized again, all are found at
JPEG quality 90 or 95 % of the size, 0.94 to 0.97 at quality 75, 0.96 to 0.98 at 80 % of the size.
Questions of trec6 that differ in a word have up to 0.998."""
LEAST_DIRECTIONS = 24
"""Effective dimensions of features that can tell the same sample from one alike. Photos have 58 and
73, pen-drawn letters, which they take for one another, 17; sentences 100 by a transformer, 19 by a
character LSTM, which sees little but their last words."""
_DAMPING = 0.1
"""Of the largest variance, added to every variance that features are whitened by."""
_DRAWN = 1024
_MOST = 256
_COARSE = 64
_CHUNK = 1024


def near_equal(digests: Sequence[bytes], rows: Rows, modality: str) -> dict[bytes, bytes]:
    """For every content that comes after one nearly equal to it, or to one nearly equal to that and
    so on, the first such content. digests: the content of each of the `(n, D)` rows."""
    known: dict[bytes, int] = {}
    first = np.array([k for k, one in enumerate(digests) if known.setdefault(one, k) == k])
    if len(first) < 2:
        return {}
    whitened = _whitened(rows, first)
    if whitened is None:
        return {}
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _pairs(whitened, IMAGES_ALIKE if modality == "image" else OTHERS_ALIKE)
    size = (len(first),) * 2
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=size)
    group = connected_components(links, directed=False)[1]
    leader = np.unique(group, return_index=True)[1][group]
    return {
        digests[first[k]]: digests[first[leader[k]]]
        for k in np.flatnonzero(leader != np.arange(len(first))).tolist()
    }


def _whitened(rows: Rows, wanted: np.ndarray) -> Tensor | None:
    """`(m, r)` unit rows, in directions found on some of them; None where they are too few to tell
    samples apart."""
    some = wanted[np.linspace(0, len(wanted) - 1, min(len(wanted), _DRAWN)).astype(int)]
    sample = chosen(rows, some).double()
    mean = sample.mean(0)
    values, vectors = torch.linalg.eigh((sample - mean) @ (sample - mean).T)
    values, vectors = values.flip(0).clamp_min(0)[:_MOST], vectors.flip(1)[:, :_MOST]
    damped = values + _DAMPING * values[0]
    if not values.isfinite().all() or not float((values / damped).sum()) >= LEAST_DIRECTIONS:
        return None
    kept = values > 1e-9 * values[0]
    basis = (sample - mean).T @ (vectors[:, kept] / values[kept].sqrt())
    basis = (basis / damped[kept].sqrt()).float()
    parts, start = [], 0
    for chunk in rows():
        here = wanted[(wanted >= start) & (wanted < start + len(chunk))]
        parts.append((chunk[here - start] - mean.float()) @ basis)
        start += len(chunk)
    return nn.functional.normalize(torch.cat(parts), dim=1)


def _pairs(unit: Tensor, alike: float) -> np.ndarray:
    """`(p, 2)` positions of rows whose cosine is at least `alike`, each pair once. The first
    directions and the length of the rest bound the cosine: few pairs are looked at in full."""
    rest = unit[:, _COARSE:].norm(dim=1, keepdim=True)
    coarse = torch.cat([unit[:, :_COARSE], rest], 1)
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(unit), _CHUNK):
        bound = coarse[start : start + _CHUNK] @ coarse[start:].T
        near = (bound >= alike - 1e-6).nonzero() + start
        near = near[near[:, 0] < near[:, 1]]
        for part in near.split(1 << 16):
            cosine = (unit[part[:, 0]] * unit[part[:, 1]]).sum(1)
            found.append(part[cosine >= alike].numpy())
    return np.concatenate(found)
