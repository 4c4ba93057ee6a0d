"""Stratified, seeded ways to divide samples: a function of labels, groups and seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooadapt.data.dataset import Split
from zooadapt.errors import DataError

TRAIN, VAL, TEST, UNLABELLED = "train", "val", "test", "unlabelled"
"""The parts of the data; the last one has no labels."""


def parted(
    labels: np.ndarray, shares: Sequence[float], seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """`(n,)` the part of each sample. Each part gets its share of every class, to within a sample;
    with groups, which stay whole, as near to it as they allow. The shares sum to 1."""
    rng = np.random.default_rng((seed, 0xF01D))
    if groups is not None:
        return _parted_whole(labels, np.asarray(shares), rng, groups)
    part = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # One offset for all bounds of a class: what is rounded does not pile up in one part.
        ends = np.floor(np.cumsum(shares)[:-1] * len(members) + rng.random()).astype(np.int64)
        part[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    return part


def _parted_whole(
    labels: np.ndarray, shares: np.ndarray, rng: np.random.Generator, groups: np.ndarray
) -> np.ndarray:
    """Groups from large to small, each to the part that comes nearest to its shares by it."""
    numbers, sizes = np.unique(groups, return_counts=True)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    total = np.bincount(labels)
    room = shares[:, None] * total
    part = np.empty(len(labels), dtype=np.int64)
    drawn = rng.permutation(len(numbers))
    for group in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        present, count = np.unique(labels[members[group]], return_counts=True)
        change = (count * (count - 2 * room[:, present]) / total[present]).sum(1)
        chosen = int(change.argmin())
        room[chosen, present] -= count
        part[members[group]] = chosen
    return part


def stratified(
    labels: np.ndarray, fraction: float, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept and indices held out, both sorted: `fraction` of each class is held out, at
    least one sample of a class with two or more, and at least one of every class is kept. With
    groups, which stay whole, `fraction` is approached and a class may have nothing held out."""
    if groups is not None:
        return _stratified_whole(labels, fraction, seed, groups)
    rng = np.random.default_rng((seed, 0x5711))
    held = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held.append(members[:count])
    held_out = np.sort(np.concatenate(held)) if held else np.empty(0, dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def _stratified_whole(
    labels: np.ndarray, fraction: float, seed: int, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    held = parted(labels, (1 - fraction, fraction), seed, groups) == 1
    for label in np.setdiff1d(labels, labels[~held]):
        found, sizes = np.unique(groups[np.isin(groups, groups[labels == label])],
                                 return_counts=True)  # fmt: skip
        held[groups == found[sizes.argmin()]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def together(groups: np.ndarray | None, contents: Sequence[bytes]) -> np.ndarray | None:
    """The groups of samples of which equal ones must not be split either; `groups` itself where no
    two contents are equal."""
    first = _first(contents)
    if len(np.unique(first)) == len(first):
        return groups
    if groups is None:
        return first
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, sample = len(first), np.arange(len(first))
    names, number = np.unique(groups, return_inverse=True)
    ends = np.tile(sample, 2), np.concatenate((first, n + number))
    links = coo_array((np.ones(2 * n), ends), shape=(n + len(names),) * 2)
    return connected_components(links, directed=False)[1][:n]


def divided(
    split: Split, fraction: float, seed: int, contents: Sequence[bytes] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`stratified` of a split's samples: those of equal content (by default: equal bytes) are on
    one side, and their number counts for nothing."""
    contents = split.digests if contents is None else contents
    if split.groups is not None:
        return stratified(split.labels, fraction, seed, together(split.groups, contents))
    first = _first(contents)
    originals = np.unique(first)
    held = np.isin(first, originals[stratified(split.labels[originals], fraction, seed)[1]])
    for label in np.setdiff1d(split.labels, split.labels[~held]):  # all are copies of others
        held[first == first[split.labels == label][0]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def _first(contents: Sequence[bytes]) -> np.ndarray:
    """The position at which each content comes first."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(one, k) for k, one in enumerate(contents)], dtype=np.int64)


def hold_out(
    split: Split, fraction: float, seed: int, contents: Sequence[bytes] | None = None
) -> tuple[Split, Split]:
    """A split divided into what is trained on and what is held out, stratified by class; groups
    stay whole, and samples of equal content (by default: equal bytes) together. Where there are
    samples that the source has not learned before, only such are held out, but for whole groups.

    Raises: DataError when no class has a sample, or a group, to spare.
    """
    contents = split.digests if contents is None else contents
    unseen = np.flatnonzero(~split.learned)
    held_out = np.empty(0, dtype=np.int64)
    if split.groups is None and 0 < len(unseen) < len(split):
        new = [contents[k] for k in unseen]
        held_out = unseen[divided(split.subset(unseen), fraction, seed, new)[1]]
        kept = np.setdiff1d(np.arange(len(split)), held_out)
    if not len(held_out):
        kept, held_out = divided(split, fraction, seed, contents)
    if not len(held_out):
        few = "sample" if split.groups is None else "group"
        raise DataError(
            f"every class has a single training {few}, so none can be held out to compare epochs",
            thing=f"training {few}s",
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
