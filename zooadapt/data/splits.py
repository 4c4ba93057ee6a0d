"""Stratified, seeded ways to divide samples: a function of labels and seed alone."""

from __future__ import annotations

import numpy as np

from zooadapt.data.dataset import Split
from zooadapt.errors import DataError


def stratified(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept and indices held out, both sorted: `fraction` of each class is held out, at
    least one sample of a class with two or more, and at least one of every class is kept."""
    rng = np.random.default_rng((seed, 0x5711))
    held = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held.append(members[:count])
    held_out = np.sort(np.concatenate(held)) if held else np.empty(0, dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """A split divided into what is trained on and what is held out, stratified by class.

    Raises: DataError when no class has a sample to spare.
    """
    kept, held_out = stratified(split.labels, fraction, seed)
    if not len(held_out):
        raise DataError(
            "every class has a single training sample, so none can be held out to compare epochs",
            thing="training samples",
            remedy="add samples, or --strategy probe, which holds out none",
        )
    return split.subset(kept), split.subset(held_out)


def sample_per_class(split: Split, count: int, seed: int) -> Split:
    """At most `count` samples of each class, drawn by seed."""
    rng = np.random.default_rng((seed, 0xFE3))
    chosen = [
        rng.permutation(np.flatnonzero(split.labels == label))[:count]
        for label in np.unique(split.labels)
    ]
    return split.subset(np.sort(np.concatenate(chosen)))
