"""Activations on disk: frozen stages run once for each sample.

An entry is a folder whose name hashes everything that its activations depend on. It holds
safetensors shards; each has the content hashes of its samples and is named by the hash of its own
bytes. A shard is complete or absent: a crash leaves nothing to repair, processes may write side by
side, and a shard with a flipped bit is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import torch

from zooadapt.backbone.padding import cat
from zooadapt.errors import DataError, ZooadaptError
from zooadapt.family import Activations
from zooadapt.runtime import filesystem, locks, model_files

SHARD_BYTES = 32 << 20
_SAMPLES = "sha256"
_OPEN = 4
_SHARD = "shard"


class Cache:
    """All entries below a folder, at most `limit` bytes together. The least recently used go first;
    entries that a run is using stay, even beyond the limit."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder, self.limit = folder / "carries", limit
        self._in_use: WeakSet[Entry | Stored] = WeakSet()

    def entry(self, facts: Mapping[str, Any]) -> Entry:
        """The entry of exactly these facts; any difference is another entry."""
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        return Entry(self.folder / name, self._in_use)

    def room_for(self, size: int) -> bool:
        """Whether `size` more bytes fit under the limit beside the activations in use, and leave a
        tenth of the disk free."""
        shards = {path for user in self._in_use for path in user.paths}
        size_in_use = sum(map(_size, shards))
        place = next(p for p in (self.folder, *self.folder.parents) if os.path.exists(p))
        usage = shutil.disk_usage(place)
        return size_in_use + size <= self.limit and size <= usage.free - usage.total // 10

    def trim(self) -> None:
        """Remove the least recently used entries that nobody is using until the rest is within the
        limit, and what killed processes left half-written. What cannot be removed stays; other
        processes may write and remove meanwhile."""
        if not os.path.isdir(self.folder):
            return
        with suppress(ZooadaptError, OSError):  # read-only, or being trimmed
            with locks.lock(self.folder / "trim.lock", what="the cache", wait=10.0):
                self._trim()

    def _trim(self) -> None:
        entries = []
        for path in [path for path in self.folder.iterdir() if path.is_dir()]:
            filesystem.recover(path / _SHARD, older=filesystem.ABANDONED)
            files = [Path(place, name) for place, _, names in os.walk(path) for name in names]
            with suppress(FileNotFoundError):
                entries.append((path.stat().st_mtime, path, sum(map(_size, files))))
        total = sum(size for _, _, size in entries)
        for _, path, size in sorted(entries):
            if total <= self.limit:
                break
            if locks.remove_unlocked(path):
                total -= size


class Entry:
    """The stored activations of one freeze point. The entry is in use, and so kept, from the first
    call of `missing` for as long as this object or a `Stored` of it lives."""

    def __init__(self, folder: Path, in_use: WeakSet[Entry | Stored]) -> None:
        """in_use: the users of the cache's shards; this entry and its `Stored` are added."""
        self.folder, self._in_use = folder, in_use
        self.paths: set[Path] = set()
        """Shards that hold samples of a call of `missing`."""
        self.fault = ""
        """Why nothing more can be stored, if so."""
        self._lock: locks.SharedLock | None = None
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._verified: set[str] = set()

    def missing(self, digests: Sequence[bytes]) -> np.ndarray:
        """Positions of the samples that are not stored. New shards are verified: one whose bytes do
        not hash to its name is removed."""
        self._lock = self._lock or locks.lock_shared(self.folder)
        if self._lock is not None:
            with suppress(OSError):  # a read-only entry
                os.utime(self.folder)
            for path in sorted(self.folder.glob("*.safetensors")):
                if path.name not in self._verified:
                    self._verify(path)
        self.paths |= {self._places[d][0] for d in digests if d in self._places}
        self._in_use.add(self)
        return np.array([k for k, d in enumerate(digests) if d not in self._places], dtype=np.int64)

    def rows(self, digests: Sequence[bytes]) -> Stored:
        """The activations of samples that are all stored, in this order."""
        stored = Stored([self._places[digest] for digest in digests], self._lock)
        self._in_use.add(stored)
        return stored

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[bytes], Activations], None]]:
        """A function that adds a batch of activations under their samples' content hashes. Shards
        hold activations of like shapes, about 32 MiB each, and are written as they fill. If the
        disk fails or fills, `fault` says so; later batches are lost, earlier ones stay good."""
        with self._noting_fault():
            self._lock = locks.lock_shared(self.folder, make=True) or self._lock
        waiting: list[tuple[Sequence[bytes], Activations]] = []
        size = 0

        def add(digests: Sequence[bytes], activations: Activations) -> None:
            nonlocal size
            if waiting and (size > SHARD_BYTES or _shapes(activations) != _shapes(waiting[0][1])):
                self._flush(waiting)
                waiting.clear()
                size = 0
            waiting.append((digests, activations))
            size += sum(t.numel() * t.element_size() for t in activations.values())

        yield add
        if waiting:
            self._flush(waiting)

    def _flush(self, batches: Sequence[tuple[Sequence[bytes], Activations]]) -> None:
        if self.fault:
            return
        whole = {
            name: torch.cat([activations[name] for _, activations in batches])
            for name in batches[0][1]
        }
        flat = b"".join(digest for digests, _ in batches for digest in digests)
        whole[_SAMPLES] = torch.frombuffer(bytearray(flat), dtype=torch.uint8).view(-1, 32)
        with self._noting_fault(), filesystem.staging(self.folder / _SHARD) as stage:
            draft = stage / _SHARD
            model_files.write_weights(draft, whole)
            os.replace(draft, self.folder / f"{filesystem.file_sha256(draft)[:32]}.safetensors")

    @contextmanager
    def _noting_fault(self) -> Iterator[None]:
        try:
            yield
        except (ZooadaptError, OSError) as error:
            self.fault = str(error)

    def _verify(self, path: Path) -> None:
        try:
            if filesystem.file_sha256(path)[:32] != path.stem:
                with suppress(OSError):
                    path.unlink()
                return
            samples = _open(path)[_SAMPLES].numpy()
        except ZooadaptError:  # another process removed it, or it is broken
            return
        self._verified.add(path.name)
        for row, digest in enumerate(samples):
            self._places[digest.tobytes()] = (path, row)


class Stored:
    """Activations read from shards, memory-mapped; only a few shards are open at a time."""

    def __init__(self, places: Sequence[tuple[Path, int]], lock: locks.SharedLock | None) -> None:
        self.paths = sorted({path for path, _ in places})
        self._lock = lock
        number = {path: k for k, path in enumerate(self.paths)}
        self._shard = np.array([number[path] for path, _ in places], dtype=np.int32)
        self._row = np.array([row for _, row in places], dtype=np.int64)
        self._open: dict[int, Activations] = {}

    def __len__(self) -> int:
        return len(self._row)

    def gather(self, indices: np.ndarray) -> Activations:
        """The activations of these samples; where they differ in length, zeros pad the end."""
        shards, rows = self._shard[indices], self._row[indices]
        parts, order = [], []
        for shard in np.unique(shards):
            positions = np.flatnonzero(shards == shard)
            tensors = self._mapped(int(shard))
            parts.append(
                {
                    name: t[torch.from_numpy(rows[positions])]
                    for name, t in tensors.items()
                    if name != _SAMPLES
                }
            )
            order.append(positions)
        back = torch.from_numpy(np.argsort(np.concatenate(order), kind="stable"))
        return {name: cat([part[name] for part in parts])[back] for name in parts[0]}

    def _mapped(self, shard: int) -> Activations:
        if shard not in self._open:
            while len(self._open) >= _OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[shard] = _open(self.paths[shard])
        return self._open[shard]


def _open(path: Path) -> Activations:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"cached shard '{path.name}' cannot be read",
            thing=str(path),
            remedy="run the same command again: it computes the shard anew",
        ) from error


def _size(path: Path) -> int:
    """Bytes of a file, 0 if another process removed it."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _shapes(activations: Activations) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (t.dtype, tuple(t.shape[1:])) for name, t in activations.items()}
