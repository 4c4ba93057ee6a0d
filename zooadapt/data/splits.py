"""Stratified splits: functions of labels, groups and seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooadapt.data.dataset import Split
from zooadapt.errors import DataError

TRAIN, VAL, TEST = "train", "val", "test"
"""The parts of the data."""


def assign_parts(
    labels: np.ndarray, shares: Sequence[float], seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """`(n,)` the part of each sample. Each part gets its share of every class, to within a sample;
    with groups, which are never split, approximately. The shares sum to 1."""
    rng = np.random.default_rng((seed, 0xF01D))
    if groups is not None:
        return _assign_groups(labels, np.asarray(shares), rng, groups)
    part = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # One offset for all bounds of a class, so that rounding favours no part.
        ends = np.floor(np.cumsum(shares)[:-1] * len(members) + rng.random()).astype(np.int64)
        part[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    return part


def _assign_groups(
    labels: np.ndarray, shares: np.ndarray, rng: np.random.Generator, groups: np.ndarray
) -> np.ndarray:
    """Groups from large to small, each to the part that it brings nearest to its shares."""
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


def stratify(
    labels: np.ndarray, fraction: float, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices to train on and to hold out: `fraction` of each class is held out, at least
    one sample of a class with two or more, and never all of a class. With groups, which are never
    split, `fraction` is approximate, and a class may have no held-out sample."""
    if groups is not None:
        return _stratify_groups(labels, fraction, seed, groups)
    rng = np.random.default_rng((seed, 0x5711))
    drawn = [np.empty(0, dtype=np.int64)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        drawn.append(members[:count])
    held_out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def _stratify_groups(
    labels: np.ndarray, fraction: float, seed: int, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    held_out = assign_parts(labels, (1 - fraction, fraction), seed, groups) == 1
    for label in np.setdiff1d(labels, labels[~held_out]):
        with_label = np.isin(groups, groups[labels == label])
        names, sizes = np.unique(groups[with_label], return_counts=True)
        held_out[groups == names[sizes.argmin()]] = False
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """`(n,)` positions, drawn by seed, in an order of which every beginning holds its share of
    every class, to within a sample."""
    rng = np.random.default_rng((seed, 0x0DE5))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def merge_groups(groups: np.ndarray | None, contents: Sequence[bytes]) -> np.ndarray | None:
    """Groups, merged where they share a content; `groups` itself where all contents differ."""
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
    return np.asarray(connected_components(links, directed=False)[1][:n])


def divide(
    split: Split, fraction: float, seed: int, contents: Sequence[bytes] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`stratify` the samples of a split. Samples of equal content (by default: equal bytes) are on
    one side and count once."""
    contents = split.digests if contents is None else contents
    if split.groups is not None:
        return stratify(split.strata, fraction, seed, merge_groups(split.groups, contents))
    first = _first(contents)
    originals = np.unique(first)
    held_out = np.isin(first, originals[stratify(split.strata[originals], fraction, seed)[1]])
    for label in np.setdiff1d(split.strata, split.strata[~held_out]):  # all are copies of others
        held_out[first == first[split.strata == label][0]] = False
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _first(contents: Sequence[bytes]) -> np.ndarray:
    """The first position of each sample's content."""
    position: dict[bytes, int] = {}
    first = [position.setdefault(content, k) for k, content in enumerate(contents)]
    return np.array(first, dtype=np.int64)


def hold_out(
    split: Split, fraction: float, seed: int, contents: Sequence[bytes] | None = None
) -> tuple[Split, Split]:
    """A split divided into a training part and a held-out part, stratified by class; groups and
    samples of equal content (by default: equal bytes) are never split. Where the pretrained model
    was trained on some samples, only others are held out, unless there are groups.

    Raises: DataError if every class has a single sample or group.
    """
    contents = split.digests if contents is None else contents
    unseen = np.flatnonzero(~split.learned)
    held_out = np.empty(0, dtype=np.int64)
    if split.groups is None and 0 < len(unseen) < len(split):
        unseen_contents = [contents[k] for k in unseen.tolist()]
        held_out = unseen[divide(split.subset(unseen), fraction, seed, unseen_contents)[1]]
        train = np.setdiff1d(np.arange(len(split)), held_out)
    if not len(held_out):
        train, held_out = divide(split, fraction, seed, contents)
    if not len(held_out):
        unit = "sample" if split.groups is None else "group"
        raise DataError(
            f"every class has a single training {unit}, so none can be held out to compare epochs",
            thing=f"training {unit}s",
            remedy="add samples, or --strategy probe, which holds out none",
        )
    return split.subset(train), split.subset(held_out)


def sample_per_class(split: Split, count: int, seed: int) -> Split:
    """At most `count` samples of each class, drawn by seed."""
    rng = np.random.default_rng((seed, 0xFE3))
    drawn = [
        rng.permutation(np.flatnonzero(split.strata == label))[:count]
        for label in np.unique(split.strata)
    ]
    return split.subset(np.sort(np.concatenate(drawn)))
