"""Carries on disk: what a frozen prefix gave for a sample, so that it is never computed twice.

An entry is a folder named by everything its carries depend on; it holds safetensors shards, each
named by the hash of its own bytes and carrying the content hashes of its samples. A shard is there
completely or not at all, so that nothing has to be repaired after a crash, processes may write side
by side, and a flipped bit is a shard that is not used.
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
    """All entries below a folder, together at most `limit` bytes: least recently used go first,
    but none that a run is using, so that it may be more for as long as there are such."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder, self.limit = folder / "carries", limit
        self._in_use: WeakSet[Entry | Stored] = WeakSet()

    def entry(self, facts: Mapping[str, Any]) -> Entry:
        """The entry of exactly these facts; any difference is another entry."""
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        return Entry(self.folder / name, self._in_use)

    def room_for(self, size: int) -> bool:
        """Whether `size` more bytes, beside the carries from here that are in use, fit under the
        limit, and leave a tenth of the disk free."""
        shards = {path for user in self._in_use for path in user.paths}
        size_in_use = sum(map(_size, shards))
        place = next(p for p in (self.folder, *self.folder.parents) if os.path.exists(p))
        usage = shutil.disk_usage(place)
        return size_in_use + size <= self.limit and size <= usage.free - usage.total // 10

    def trim(self) -> None:
        """Remove the least recently used entries that nobody is using until the rest is within the
        limit, and what killed processes left half-written. What cannot be removed stays, and what
        others write or remove meanwhile does no harm."""
        if not os.path.isdir(self.folder):
            return
        with suppress(ZooadaptError, OSError):  # a cache that may only be read, or is being trimmed
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
    """The stored carries of one cut. It is in use, and not removed, from the first look into it for
    as long as this object lives or carries that it gave."""

    def __init__(self, folder: Path, in_use: WeakSet[Entry | Stored]) -> None:
        """in_use: who uses which shards of the cache; this entry and what it gives are added."""
        self.folder, self._in_use = folder, in_use
        self.paths: set[Path] = set()
        """Shards that hold samples which were asked for."""
        self.fault = ""
        """Why nothing more can be stored here, if that is so."""
        self._lock: locks.SharedLock | None = None
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._verified: set[str] = set()

    def missing(self, digests: Sequence[bytes]) -> np.ndarray:
        """Positions of the samples whose carry is not here. New shards are verified on the way: one
        whose bytes do not hash to its name is removed."""
        self._lock = self._lock or locks.lock_shared(self.folder)
        if self._lock is not None:
            with suppress(OSError):  # one that may only be read
                os.utime(self.folder)
            for path in sorted(self.folder.glob("*.safetensors")):
                if path.name not in self._verified:
                    self._verify(path)
        self.paths |= {self._places[d][0] for d in digests if d in self._places}
        self._in_use.add(self)
        return np.array([k for k, d in enumerate(digests) if d not in self._places], dtype=np.int64)

    def rows(self, digests: Sequence[bytes]) -> Stored:
        """The carries of samples that are all here, in this order."""
        stored = Stored([self._places[digest] for digest in digests], self._lock)
        self._in_use.add(stored)
        return stored

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[bytes], Activations], None]]:
        """A function that adds a batch of carries under their samples' content hashes. Shards hold
        carries of like shapes, about 32 MiB each, and are written as they fill. Where the disk
        fails or fills, `fault` says so and what is added from then on is lost; what was written
        before stays good."""
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
    """Carries read from shards, memory-mapped; only a few shards are open at a time."""

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
        """One carry of these samples; where they differ in length, padded with zeros at the end."""
        shards, rows = self._shard[indices], self._row[indices]
        parts, order = [], []
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            tensors = self._mapped(int(shard))
            parts.append(
                {
                    name: t[torch.from_numpy(rows[here])]
                    for name, t in tensors.items()
                    if name != _SAMPLES
                }
            )
            order.append(here)
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
            remedy="run it again; the shard will be made anew",
        ) from error


def _size(path: Path) -> int:
    """Bytes of a file, none if it is gone."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _shapes(activations: Activations) -> dict[str, tuple]:
    return {name: (t.dtype, tuple(t.shape[1:])) for name, t in activations.items()}
