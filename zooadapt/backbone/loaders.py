"""Data loaders: batches of inputs, which are freeze point 0, or of activations stored at a deeper
freeze point."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from typing import Any, Protocol

import numpy as np

from zooadapt.backbone.cache import Stored
from zooadapt.backbone.padding import cat
from zooadapt.data import Split
from zooadapt.family import Activations, Preprocessor, Sample
from zooadapt.family.modality import Modality, View
from zooadapt.runtime import distributed

WORKERS = max(1, (os.cpu_count() or 1) // distributed.on_host())
_AHEAD = 3
_WINDOWS = 1 << 26
"""Bytes of decoded windows in memory: recordings may last for days, and windows are quick to decode
again."""
_PLAIN = View()
_AT_ONCE = 256
"""Samples in one call of a preprocessor that takes several."""


class Loader(Protocol):
    """Activations of a fixed list of samples at one freeze point, in batches of any order."""

    freeze_at: int

    def __len__(self) -> int: ...

    def lengths(self) -> np.ndarray | None:
        """`(n,)` lengths of the samples; None where all have the same shape."""
        ...

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        """A batch of activations for each array of sample indices. Augmentations, if any, are a
        function of `key` (seed, epoch) and sample alone."""
        ...


class Inputs:
    """Freeze point 0: samples that threads decode and preprocess while the network computes.

    Up to `memory` bytes of decoded samples stay in memory for later epochs.
    """

    freeze_at = 0

    def __init__(
        self,
        split: Split,
        preprocessor: Preprocessor,
        *,
        view: View = _PLAIN,
        variable_length: bool = False,
        memory: int = 1 << 30,
    ) -> None:
        self.split, self.preprocessor, self._view = split, preprocessor, view
        self.variable_length = variable_length
        self._augmenting: Preprocessor | None = None
        self._lengths: np.ndarray | None = None
        self._many: Callable[[list[Any]], list[Sample]] | None = getattr(preprocessor, "many", None)
        windows = len(split) > 0 and split.window(0) is not None
        self._raws = _Decoded(min(memory, _WINDOWS) if windows else memory, split.kind)

    def augmented(self, preprocessor: Preprocessor) -> Inputs:
        """The same samples, augmented anew for every key; the two share decoded samples."""
        other = copy.copy(self)
        other._augmenting = preprocessor
        return other

    def __len__(self) -> int:
        return len(self.split)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of decoded samples in memory."""
        return self._raws.size

    def lengths(self) -> np.ndarray | None:
        if not self.variable_length:
            return None
        if self._lengths is None:
            self._lengths = np.fromiter(self._measured(), dtype=np.int64, count=len(self))
        return self._lengths

    def _measured(self) -> Iterator[int]:
        """The length of each sample; of a recording without preprocessing it for that, where its
        preprocessor says it."""
        length = getattr(self.preprocessor, "length", None)
        if length is not None and self.split.kind.has_length:
            for index in range(len(self)):
                yield length(self._raw(index))
            return
        for indices in in_order(len(self), _AT_ONCE):
            for sample in self._samples(indices, ()):
                yield max(len(tensor) for tensor in sample.values() if tensor.ndim)

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
            waiting: list[list[Future[list[Sample]]]] = []
            # An image takes long enough for a thread; texts are prepared a batch at a time.
            at_once = _AT_ONCE if self._augmenting is None and self._many else 1
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
        if self._augmenting is None:
            raws = [self._raw(int(index)) for index in indices]
            if self._many is not None:
                return self._many(raws)
            return [self.preprocessor(raw, rng=None) for raw in raws]
        return [
            self._augmenting(
                self._raw(int(index)),
                rng=np.random.default_rng((*key, int(index))),
            )
            for index in indices
        ]

    def _raw(self, index: int) -> Any:
        raw = self._raws.get(index)
        if raw is None:
            raw = self.split.viewed(index, self._view)
            self._raws.add(index, raw)
        return raw


class _Decoded:
    """The first decoded samples up to a number of bytes: an epoch visits all of them alike."""

    def __init__(self, limit: int, modality: Modality) -> None:
        self._limit, self._modality, self.size = limit, modality, 0
        self._items: dict[int, Any] = {}
        self.get = self._items.get

    def add(self, index: int, raw: Any) -> None:
        size = self._modality.memory(raw)
        if self.size + size <= self._limit:
            self.size += size
            self._items[index] = raw


class FromCache:
    """Activations at a freeze point, read from the cache."""

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
    """Some samples of a loader, in a given order."""

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
    """The samples of several loaders at one freeze point, one loader after the other."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self._loaders = loaders
        self._starts = np.cumsum([0, *map(len, loaders)])
        self.freeze_at = loaders[0].freeze_at

    def __len__(self) -> int:
        return int(self._starts[-1])

    def lengths(self) -> np.ndarray | None:
        lengths = [n for loader in self._loaders if (n := loader.lengths()) is not None]
        return np.concatenate(lengths) if lengths else None

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        order, *own = tee(order, 1 + len(self._loaders))
        streams = [
            loader.batches(self._own_samples(k, own[k]), key=(*key, k))
            for k, loader in enumerate(self._loaders)
        ]
        for indices in order:
            numbers = self._loader_of(indices)
            parts = [next(streams[k]) for k in np.unique(numbers)]
            back = np.argsort(np.argsort(numbers, kind="stable"))
            yield {name: cat([part[name] for part in parts])[back] for name in parts[0]}

    def _own_samples(self, loader: int, order: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """A loader's own samples of each batch that has any."""
        for indices in order:
            own = indices[self._loader_of(indices) == loader]
            if len(own):
                yield own - self._starts[loader]

    def _loader_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, indices, side="right") - 1


def in_order(n: int, batch_size: int, lengths: np.ndarray | None = None) -> list[np.ndarray]:
    """Batches of every index once, sorted by length where lengths differ: the least padding."""
    order = np.arange(n) if lengths is None else np.argsort(lengths, kind="stable")
    return [order[k : k + batch_size] for k in range(0, n, batch_size)]


def steps(n: int, batch_size: int) -> int:
    """The number of batches that `shuffled` makes of `n` samples. A single remaining sample joins
    the last batch: batch norm cannot normalise over it alone."""
    remainder = 1 < batch_size < n and n % batch_size == 1
    return -(-n // batch_size) - remainder


def shuffled(
    n: int, batch_size: int, *, key: tuple[int, ...], lengths: np.ndarray | None = None
) -> list[np.ndarray]:
    """Batches of every index once, in an order that is a function of `key`. Where lengths differ,
    samples of like length share a batch: runs of 16 batches are sorted by length, then the batches
    are shuffled."""
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
