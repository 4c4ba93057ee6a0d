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
from zooadapt.backbone.loaders import Feed, FromCache, Inputs, Joined, Views
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.staged import POOLED, prefix_sha256
from zooadapt.data import Split
from zooadapt.family import Preprocessor
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.zoo import registry


class Carries:
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
        self._chain, self._engine, self._cache = model.chain, engine, cache
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

    def at(self, name: str, cut: int) -> Feed:
        """A split's carries under the eval transform: stored ones at `cut`, or at the deepest cut
        below it that was prepared, else fresh ones at cut 0, from which the network has to run."""
        stored = [c for n, c in self._ready if n == name and (c == cut or 0 < c < cut)]
        return self._ready[name, max(stored)] if stored else self._inputs[name]

    def training(self, cut: int, *names: str) -> Feed:
        """The carries of splits, one after the other, as an epoch sees them: augmented, if they are
        fresh or in views."""
        if all((name, cut) in self._ready for name in names):
            feeds = [self._ready.get((f"{n} views", cut), self._ready[n, cut]) for n in names]
        elif self._varied is None:
            feeds = [self._inputs[name] for name in names]
        else:
            feeds = [self._inputs[name].augmented(self._varied) for name in names]
        return feeds[0] if len(feeds) == 1 else Joined(feeds)

    def forget(self) -> None:
        """Give only fresh carries from now on: the network before the cuts is another one."""
        self._ready.clear()

    def prepare(self, name: str, cuts: Sequence[int], *, views: bool = False) -> None:
        """Store a split's carries at these cuts, in one pass over what is not stored yet. A cut
        whose carries would not fit, or cannot be written, is left to be computed, and a note says
        so. With `POOLED` the means of every stage's channels are stored too; with `views` what
        epochs draw among, if they vary samples."""
        cuts = sorted({cut for cut in cuts if cut})
        if self._cache is None or not cuts or not len(self._splits[name]):
            return
        inputs = self._inputs[name]
        digests = self._splits[name].digests
        self._store(name, inputs, digests, cuts, {})
        if views and self._views and self._varied is not None:
            varied = inputs.augmented(self._varied)
            for cut in cuts:
                if 0 < cut < self._chain.depth and (name, cut) in self._ready:
                    self._store_views(name, varied, digests, cut)
        self._cache.trim()

    def _store_views(self, name: str, varied: Inputs, digests: list[bytes], cut: int) -> None:
        feeds = []
        for view in range(self._views):
            label = f"{name} view {view + 1}"
            self._store(
                label,
                varied.fixed((self._seed, view)),
                digests,
                [cut],
                {"augment": self._augment, "seed": self._seed, "view": view},
            )
            if (label, cut) in self._ready:
                feeds.append(self._ready.pop((label, cut)))
        if len(feeds) == self._views:
            self._ready[f"{name} views", cut] = Views(feeds)
            self._note(f"epochs draw among {self._views} stored views of each sample")

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _store(
        self,
        name: str,
        inputs: Inputs,
        digests: list[bytes],
        cuts: list[int],
        more: Mapping[str, Any],
    ) -> None:
        entries = {cut: self._entry(cut, more) for cut in cuts}
        missing = {cut: _missing(entry, digests) for cut, entry in entries.items()}
        wanted = [cut for cut in cuts if len(missing[cut])]
        if wanted and self._stores:
            todo = np.unique(np.concatenate([missing[cut] for cut in wanted]))
            wanted = distributed.decided(lambda: self._fitting(inputs, wanted, len(todo)))
            fault = self._pass(name, inputs, digests, {cut: entries[cut] for cut in wanted}, todo)
            if distributed.anywhere(bool(fault)):
                self._stop_storing(fault)
        for cut, entry in entries.items():
            if len(_missing(entry, digests)):
                if cut in wanted and self._stores:
                    self._note(
                        f"carries at cut {cut} are not in the cache of every process: they are "
                        "computed in every epoch"
                    )
            else:
                lengths = None if cut in (POOLED, self._chain.depth) else inputs.lengths()
                self._ready[name, cut] = FromCache(cut, entry.rows(digests), lengths)

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
            add = {cut: stack.enter_context(entry.writing()) for cut, entry in entries.items()}
            for indices, found in self._engine.carries(
                self._chain,
                inputs,
                stops=list(entries),
                batch_size=self._batch_size,
                progress=self._progress,
                what=f"features of {name}",
                only=todo,
            ):
                if any(entry.fault for entry in entries.values()):
                    break
                for cut, carry in found.items():
                    add[cut]([digests[k] for k in indices], carry)
        return next((entry.fault for entry in entries.values() if entry.fault), "")

    def _stop_storing(self, fault: str) -> None:
        self._stores = False
        self._note("the cache cannot be written to: what is not in it is computed in every epoch")
        if fault:
            self._progress.say(fault)

    def _fitting(self, inputs: Inputs, cuts: list[int], samples: int) -> list[int]:
        """The cuts whose carries of so many samples fit together, the deepest first: that one saves
        the most and is the smallest."""
        _, found = next(
            self._engine.carries(
                self._chain,
                inputs,
                stops=cuts,
                batch_size=4,
                progress=Progress(),
                what="",
                only=np.arange(min(4, len(inputs))),
            )
        )
        fitting, total = [], 0
        for cut in sorted(cuts, reverse=True):
            carry = found[cut]
            n = len(next(iter(carry.values())))
            size = samples * sum(t.numel() * t.element_size() for t in carry.values()) // n
            if self._cache.room_for(total + size):
                total += size
                fitting.append(cut)
            else:
                self._note(
                    f"carries at cut {cut} need {size / 1e9:.1f} GB, more than the "
                    "cache may take: they are computed in every epoch"
                )
        return sorted(fitting)

    def _entry(self, cut: int, more: Mapping[str, Any]) -> Entry:
        prefix = prefix_sha256(self._chain, self._chain.depth if cut == POOLED else cut)
        return self._cache.entry(self._facts | dict(more) | {"cut": cut, "prefix": prefix})


def _missing(entry: Entry, digests: list[bytes]) -> np.ndarray:
    """Positions of the samples whose carry is not in the entry as one of the processes sees it."""
    missing = torch.zeros(len(digests))
    missing[entry.missing(digests)] = 1
    distributed.total(missing)
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
