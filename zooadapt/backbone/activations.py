"""The carries of a model's samples at any cut: from the cache where that pays, else from the data.

Whether a stored carry is the right one is decided by what it depends on and nothing else: the
weights before the cut, the modules they sit in, the preprocessing, the precision, the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import numpy as np
import torch

from zooadapt.backbone.cache import Cache, Entry
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import FromCache, Inputs, Joined, Loader, Views
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.staged import POOLED, prefix_sha256
from zooadapt.data import Split
from zooadapt.family import Preprocessor
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.zoo import registry


class ActivationStore:
    """Feeds of a model's splits. With a cache, one pass over a split stores its carries at every
    cut that is asked for together, and later passes, runs and commands start from there."""

    def __init__(
        self,
        model: Model,
        engine: Engine,
        splits: Mapping[str, Split],
        *,
        batch_size: int,
        progress: Progress,
        cache: Cache | None,
        augment: str = "none",
        views: int = 0,
        seed: int = 0,
        keep: int = 0,
    ) -> None:
        """augment: how training varies samples; views: how many augmented views of each sample are
        stored where training starts from a stored carry; keep: bytes of decoded samples that may
        stay in memory, for runs that visit them again."""
        self._backbone, self._engine, self._cache = model.backbone, engine, cache
        self._batch_size, self._progress = batch_size, progress
        self._augment, self._views, self._seed = augment, views, seed
        self._varied: Preprocessor | None = None
        if augment != "none":
            source = model.source
            self._varied = source.family.preprocessor(source.config, augment=augment)
        self._inputs = {
            name: Inputs(
                split,
                model.preprocessor,
                channels=model.channels,
                variable_length=model.source.family.can.variable_length,
                memory=keep,
            )
            for name, split in splits.items()
        }
        self._splits = splits
        self._facts = _facts(model, engine)
        if cache is not None:
            cache.trim()  # what was in use until now may be more than the cache may hold
        self._ready: dict[tuple[str, int], FromCache | Views] = {}
        self._stores = True
        self.notes: list[str] = []

    def at(self, name: str, freeze_at: int) -> Loader:
        """A split's carries under the eval transform: stored ones at `cut`, or at the deepest cut
        below it that was prepared, else fresh ones at cut 0, from which the network has to run."""
        stored = [c for n, c in self._ready if n == name and (c == freeze_at or 0 < c < freeze_at)]
        return self._ready[name, max(stored)] if stored else self._inputs[name]

    def training(self, freeze_at: int, *names: str) -> Loader:
        """The carries of splits, one after the other, as an epoch sees them: augmented, if they are
        fresh or in views."""
        if all((name, freeze_at) in self._ready for name in names):
            loaders = [
                self._ready.get((f"{n} views", freeze_at), self._ready[n, freeze_at]) for n in names
            ]
        elif self._varied is None:
            loaders = [self._inputs[name] for name in names]
        else:
            loaders = [self._inputs[name].augmented(self._varied) for name in names]
        return loaders[0] if len(loaders) == 1 else Joined(loaders)

    def forget(self) -> None:
        """Give only fresh carries from now on: the network before the cuts is another one."""
        self._ready.clear()

    def prepare(self, name: str, freeze_points: Sequence[int], *, views: bool = False) -> None:
        """Store a split's carries at these cuts, in one pass over what is not stored yet. A cut
        whose carries would not fit, or cannot be written, is left to be computed, and a note says
        so. With `POOLED` the means of every stage's channels are stored too; with `views` what
        epochs draw among, if they vary samples."""
        freeze_points = sorted({freeze_at for freeze_at in freeze_points if freeze_at})
        if self._cache is None or not freeze_points or not len(self._splits[name]):
            return
        inputs = self._inputs[name]
        digests = self._splits[name].digests
        self._store(name, inputs, digests, freeze_points, {})
        if views and self._views and self._varied is not None:
            varied = inputs.augmented(self._varied)
            for freeze_at in freeze_points:
                if 0 < freeze_at < self._backbone.depth and (name, freeze_at) in self._ready:
                    self._store_views(name, varied, digests, freeze_at)
        self._cache.trim()

    def _store_views(self, name: str, varied: Inputs, digests: list[bytes], freeze_at: int) -> None:
        loaders = []
        for view in range(self._views):
            label = f"{name} view {view + 1}"
            self._store(
                label,
                varied.fixed((self._seed, view)),
                digests,
                [freeze_at],
                {"augment": self._augment, "seed": self._seed, "view": view},
            )
            if (label, freeze_at) in self._ready:
                loaders.append(self._ready.pop((label, freeze_at)))
        if len(loaders) == self._views:
            self._ready[f"{name} views", freeze_at] = Views(loaders)
            self._note(f"epochs draw among {self._views} stored views of each sample")

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _store(
        self,
        name: str,
        inputs: Inputs,
        digests: list[bytes],
        freeze_points: list[int],
        more: Mapping[str, Any],
    ) -> None:
        entries = {freeze_at: self._entry(freeze_at, more) for freeze_at in freeze_points}
        missing = {freeze_at: _missing(entry, digests) for freeze_at, entry in entries.items()}
        wanted = [freeze_at for freeze_at in freeze_points if len(missing[freeze_at])]
        if wanted and self._stores:
            todo = np.unique(np.concatenate([missing[freeze_at] for freeze_at in wanted]))
            wanted = distributed.broadcast(lambda: self._fitting(inputs, wanted, len(todo)))
            fault = self._pass(
                name, inputs, digests, {freeze_at: entries[freeze_at] for freeze_at in wanted}, todo
            )
            if distributed.any_process(bool(fault)):
                self._stop_storing(fault)
        for freeze_at, entry in entries.items():
            if len(_missing(entry, digests)):
                if freeze_at in wanted and self._stores:
                    self._note(
                        f"carries at cut {freeze_at} are not in the cache of every process: they "
                        "are computed in every epoch"
                    )
            else:
                lengths = None if freeze_at in (POOLED, self._backbone.depth) else inputs.lengths()
                self._ready[name, freeze_at] = FromCache(freeze_at, entry.rows(digests), lengths)

    def _pass(
        self,
        name: str,
        inputs: Inputs,
        digests: list[bytes],
        entries: Mapping[int, Entry],
        todo: np.ndarray,
    ) -> str:
        """Store what is to do, until the cache cannot be written to; why that is, if so."""
        if not entries:
            return ""
        with ExitStack() as stack:
            add = {
                freeze_at: stack.enter_context(entry.writing())
                for freeze_at, entry in entries.items()
            }
            for indices, found in self._engine.activations(
                self._backbone,
                inputs,
                stops=list(entries),
                batch_size=self._batch_size,
                progress=self._progress,
                what=f"features of {name}",
                only=todo,
            ):
                if any(entry.fault for entry in entries.values()):
                    break
                for freeze_at, activations in found.items():
                    add[freeze_at]([digests[k] for k in indices], activations)
        return next((entry.fault for entry in entries.values() if entry.fault), "")

    def _stop_storing(self, fault: str) -> None:
        self._stores = False
        self._note("the cache cannot be written to: what is not in it is computed in every epoch")
        if fault:
            self._progress.say(fault)

    def _fitting(self, inputs: Inputs, freeze_points: list[int], samples: int) -> list[int]:
        """The cuts whose carries of so many samples fit together, the deepest first: that one saves
        the most and is the smallest."""
        _, found = next(
            self._engine.activations(
                self._backbone,
                inputs,
                stops=freeze_points,
                batch_size=4,
                progress=Progress(),
                what="",
                only=np.arange(min(4, len(inputs))),
            )
        )
        fitting, total = [], 0
        for freeze_at in sorted(freeze_points, reverse=True):
            activations = found[freeze_at]
            n = len(next(iter(activations.values())))
            size = samples * sum(t.numel() * t.element_size() for t in activations.values()) // n
            if self._cache.room_for(total + size):
                total += size
                fitting.append(freeze_at)
            else:
                self._note(
                    f"carries at cut {freeze_at} need {size / 1e9:.1f} GB, more than the "
                    "cache may take: they are computed in every epoch"
                )
        return sorted(fitting)

    def _entry(self, freeze_at: int, more: Mapping[str, Any]) -> Entry:
        prefix = prefix_sha256(
            self._backbone, self._backbone.depth if freeze_at == POOLED else freeze_at
        )
        return self._cache.entry(self._facts | dict(more) | {"cut": freeze_at, "prefix": prefix})


def _missing(entry: Entry, digests: list[bytes]) -> np.ndarray:
    """Positions of the samples whose carry is not in the entry as one of the processes sees it."""
    missing = torch.zeros(len(digests))
    missing[entry.missing(digests)] = 1
    distributed.all_reduce(missing)
    return missing.nonzero()[:, 0].numpy()


def _facts(model: Model, engine: Engine) -> dict[str, Any]:
    family = model.source.family
    return {
        "family": family.name,
        "plugin": registry.version_of(family),
        "preprocessing": model.preprocessor.config(),
        "channels": model.channels,
        "min_side": model.preprocessor.min_side,
        "precision": engine.precision,
        "device": engine.device.type,
        "torch": torch.__version__,
        "libraries": {name: _version(name) for name in family.imports},
    }


def _version(module: str) -> str:
    """Of the distribution a module comes from. Most have its name; to look into all takes 0.2 s."""
    package = module.partition(".")[0]
    with suppress(PackageNotFoundError):
        return version(package)
    return " ".join(sorted({version(n) for n in packages_distributions().get(package, ())}))
