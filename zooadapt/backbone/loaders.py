"""Where a pass over samples gets its carries: fresh from the data, at cut 0, or stored at a cut."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from typing import Any, Protocol

import numpy as np

from zooadapt.backbone.cache import Stored
from zooadapt.backbone.padding import cat
from zooadapt.data import Split
from zooadapt.family import Activations, Preprocessor, Sample
from zooadapt.runtime import distributed

WORKERS = max(1, (os.cpu_count() or 1) // distributed.on_host())
_AHEAD = 3
_AT_ONCE = 256
"""Samples that a preprocessor is given at once, where it takes several."""


class Loader(Protocol):
    """Carries of a fixed list of samples at one cut, batch by batch, in any order asked for."""

    freeze_at: int

    def __len__(self) -> int: ...

    def lengths(self) -> np.ndarray | None:
        """`(n,)` cost of each sample in a batch, where samples differ; None where all are alike."""
        ...

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        """One carry for each array of sample indices. `key` (seed, epoch) chooses the augmented
        views, if there are any, as a function of key and sample alone."""
        ...


class Inputs:
    """Cut 0: samples decoded and preprocessed by threads while the network computes.

    Decoded raw samples are kept, up to `memory` bytes, so that later epochs decode nothing twice.
    """

    freeze_at = 0

    def __init__(
        self,
        split: Split,
        preprocessor: Preprocessor,
        *,
        channels: int = 3,
        variable_length: bool = False,
        memory: int = 1 << 30,
    ) -> None:
        self.split, self.preprocessor, self.channels = split, preprocessor, channels
        self.variable_length = variable_length
        self._varied: Preprocessor | None = None
        self._fixed: tuple[int, ...] | None = None
        self._lengths: np.ndarray | None = None
        self._has_many = hasattr(preprocessor, "many")
        self._raws = _Kept(memory)

    def augmented(self, varied: Preprocessor) -> Inputs:
        """The same samples, varied anew for every key; what is decoded is shared."""
        other = copy.copy(self)
        other._varied = varied
        return other

    def fixed(self, key: tuple[int, ...]) -> Inputs:
        """The same augmented samples, in the one view that `key` chooses."""
        other = copy.copy(self)
        other._fixed = key
        return other

    def __len__(self) -> int:
        return len(self.split)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the decoded samples that are kept."""
        return self._raws.size

    def lengths(self) -> np.ndarray | None:
        if not self.variable_length:
            return None
        if self._lengths is None:
            self._lengths = np.array([
                max(tensor.numel() for tensor in sample.values())
                for indices in in_order(len(self), _AT_ONCE)
                for sample in self._samples(indices, ())
            ])  # fmt: skip
        return self._lengths

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
            waiting: list[list[Future[list[Sample]]]] = []
            # An image takes long enough for a thread; texts are prepared a batch at a time.
            at_once = _AT_ONCE if self._varied is None and self._has_many else 1
            try:
                for indices in order:
                    parts = np.split(indices, range(at_once, len(indices), at_once))
                    waiting.append([pool.submit(self._samples, part, key) for part in parts])
                    if len(waiting) >= _AHEAD:
                        yield self._collate(waiting.pop(0))
                while waiting:
                    yield self._collate(waiting.pop(0))
            finally:
                for future in (future for batch in waiting for future in batch):
                    future.cancel()

    def _collate(self, futures: Sequence[Future[list[Sample]]]) -> Activations:
        return self.preprocessor.collate([s for future in futures for s in future.result()])

    def _samples(self, indices: np.ndarray, key: tuple[int, ...]) -> list[Sample]:
        if self._varied is None:
            raws = [self._raw(int(index)) for index in indices]
            if self._has_many:
                return self.preprocessor.many(raws)
            return [self.preprocessor(raw, rng=None) for raw in raws]
        return [
            self._varied(
                self._raw(int(index)),
                rng=np.random.default_rng((*(self._fixed or key), int(index))),
            )
            for index in indices
        ]

    def _raw(self, index: int) -> Any:
        raw = self._raws.get(index)
        if raw is None:
            raw = self.split.raw(index, min_side=self.preprocessor.min_side, channels=self.channels)
            self._raws.keep(index, raw)
        return raw


class _Kept:
    """Decoded samples up to a number of bytes; first come, first kept: an epoch visits them all."""

    def __init__(self, room: int) -> None:
        self._room, self._items, self.size = room, {}, 0
        self.get = self._items.get

    def keep(self, index: int, raw: Any) -> None:
        size = len(raw) if isinstance(raw, str) else raw.width * raw.height * len(raw.getbands())
        if self.size + size <= self._room:
            self.size += size
            self._items[index] = raw


class FromCache:
    """Carries at a cut, read from the cache."""

    def __init__(self, freeze_at: int, stored: Stored, lengths: np.ndarray | None) -> None:
        self.freeze_at, self._stored, self._lengths = freeze_at, stored, lengths

    def __len__(self) -> int:
        return len(self._stored)

    def lengths(self) -> np.ndarray | None:
        return self._lengths

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        for indices in order:
            yield self._stored.gather(indices)


class Part:
    """Some samples of a feed, in a given order."""

    def __init__(self, loader: Loader, indices: np.ndarray) -> None:
        self._loader, self._indices = loader, indices
        self.freeze_at = loader.freeze_at

    def __len__(self) -> int:
        return len(self._indices)

    def lengths(self) -> np.ndarray | None:
        lengths = self._loader.lengths()
        return None if lengths is None else lengths[self._indices]

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        return self._loader.batches((self._indices[batch] for batch in order), key=key)


class Joined:
    """The samples of several feeds at one cut, one feed after the other."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self._loaders = loaders
        self._starts = np.cumsum([0, *map(len, loaders)])
        self.freeze_at = loaders[0].freeze_at

    def __len__(self) -> int:
        return int(self._starts[-1])

    def lengths(self) -> np.ndarray | None:
        lengths = [loader.lengths() for loader in self._loaders]
        return None if lengths[0] is None else np.concatenate(lengths)

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        order, *own = tee(order, 1 + len(self._loaders))
        streams = [
            loader.batches(self._shares(k, own[k]), key=(*key, k))
            for k, loader in enumerate(self._loaders)
        ]
        for indices in order:
            of = self._loader_of(indices)
            parts = [next(streams[k]) for k in np.unique(of)]
            back = np.argsort(np.argsort(of, kind="stable"))
            yield {name: cat([part[name] for part in parts])[back] for name in parts[0]}

    def _shares(self, loader: int, order: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """A feed's own samples of each batch that has any."""
        for indices in order:
            own = indices[self._loader_of(indices) == loader]
            if len(own):
                yield own - self._starts[loader]

    def _loader_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, indices, side="right") - 1


class Views:
    """Stored augmented views of the same samples; every epoch draws one of them for each sample."""

    def __init__(self, views: Sequence[FromCache]) -> None:
        self._views = views
        self.freeze_at = views[0].freeze_at

    def __len__(self) -> int:
        return len(self._views[0])

    def lengths(self) -> np.ndarray | None:
        return self._views[0].lengths()

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        drawn = np.random.default_rng(key).integers(len(self._views), size=len(self))
        for indices in order:
            views = drawn[indices]
            parts, places = [], []
            for view in np.unique(views):
                here = np.flatnonzero(views == view)
                parts.append(next(self._views[view].batches([indices[here]])))
                places.append(here)
            back = np.argsort(np.concatenate(places), kind="stable")
            yield {name: cat([part[name] for part in parts])[back] for name in parts[0]}


def in_order(n: int, batch_size: int, lengths: np.ndarray | None = None) -> list[np.ndarray]:
    """Every index once; sorted by length where lengths differ, which wastes the least padding."""
    order = np.arange(n) if lengths is None else np.argsort(lengths, kind="stable")
    return [order[k : k + batch_size] for k in range(0, n, batch_size)]


def steps(n: int, batch_size: int) -> int:
    """How many batches `shuffled` makes of `n` samples: a single one that is left over joins the
    last batch, since nothing can be normalised over it alone."""
    left_over = 1 < batch_size < n and n % batch_size == 1
    return -(-n // batch_size) - left_over


def shuffled(
    n: int, batch_size: int, *, key: tuple[int, ...], lengths: np.ndarray | None = None
) -> list[np.ndarray]:
    """Every index once in an order that is a function of `key`. Where lengths differ, samples of
    like length share a batch: runs of 16 batches are sorted by length, then the batches shuffled.
    """
    rng = np.random.default_rng(key)
    order = rng.permutation(n)
    if lengths is not None:
        run = 16 * batch_size
        runs = [order[k : k + run] for k in range(0, n, run)]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in runs])
    batches = [order[k : k + batch_size] for k in range(0, n, batch_size)]
    if len(batches) > steps(n, batch_size):
        batches[-2:] = [np.concatenate(batches[-2:])]
    if lengths is not None:
        batches = [batches[k] for k in rng.permutation(len(batches))]
    return batches
