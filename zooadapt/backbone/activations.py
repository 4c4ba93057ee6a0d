"""The activations of a model's samples at any freeze point: from the cache where that pays, else
computed from the data.

Stored activations are valid for exactly what they depend on: the weights before the freeze point,
their modules, the preprocessing, the precision and the sample.
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
from zooadapt.backbone.loaders import FromCache, Inputs, Joined, Loader
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.staged import POOLED, prefix_sha256
from zooadapt.data import Split, modalities
from zooadapt.family import Preprocessor
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.zoo import registry
from zooadapt.zoo.plugin_code import code_sha256


class ActivationStore:
    """Loaders of a model's splits. With a cache, one pass over a split stores its activations at
    several freeze points at once; later passes, runs and commands start from there."""

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
        keep: int = 0,
    ) -> None:
        """augment: how training varies samples; keep: bytes of decoded samples that may stay in
        memory for later epochs."""
        self._backbone, self._engine, self._cache = model.backbone, engine, cache
        self._batch_size, self._progress = batch_size, progress
        self._augmenting: Preprocessor | None = None
        if augment != "none":
            source = model.source
            self._augmenting = source.family.preprocessor(source.config, augment=augment)
        self._inputs = {
            name: Inputs(
                split,
                model.preprocessor,
                view=model.view,
                variable_length=model.source.family.can.variable_length,
                memory=keep,
            )
            for name, split in splits.items()
        }
        self._splits = splits
        self._facts = _facts(model, engine)
        if cache is not None:
            cache.trim()  # entries of the run before may still exceed the limit
        self._ready: dict[tuple[str, int], Loader] = {}
        self._stores = True
        self.notes: list[str] = []

    def at(self, name: str, freeze_at: int) -> Loader:
        """A split's activations under the eval transform: those stored at the deepest prepared
        freeze point up to `freeze_at`, else the inputs, which are freeze point 0."""
        stored = [c for n, c in self._ready if n == name and (c == freeze_at or 0 < c < freeze_at)]
        return self._ready[name, max(stored)] if stored else self._inputs[name]

    def training(self, freeze_at: int, *names: str) -> Loader:
        """The activations of splits, one after the other, as an epoch sees them: augmented where
        they are computed from the data."""
        if all((name, freeze_at) in self._ready for name in names):
            loaders: list[Loader] = [self._ready[name, freeze_at] for name in names]
        elif self._augmenting is None:
            loaders = [self._inputs[name] for name in names]
        else:
            loaders = [self._inputs[name].augmented(self._augmenting) for name in names]
        return loaders[0] if len(loaders) == 1 else Joined(loaders)

    def forget(self) -> None:
        """Compute all activations anew from now on: the frozen stages changed."""
        self._ready.clear()

    def prepare(self, name: str, freeze_points: Sequence[int]) -> None:
        """Store a split's activations at these freeze points, in one pass over the missing samples.
        Activations that do not fit, or cannot be written, are computed in every epoch, and a note
        says so. With `POOLED` the channel means of every stage are stored too."""
        freeze_points = sorted({freeze_at for freeze_at in freeze_points if freeze_at})
        cache = self._cache
        if cache is None or not freeze_points or not len(self._splits[name]):
            return
        inputs = self._inputs[name]
        digests = self._splits[name].digests
        self._store(cache, name, inputs, digests, freeze_points, {})
        cache.trim()

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _store(
        self,
        cache: Cache,
        name: str,
        inputs: Inputs,
        digests: list[bytes],
        freeze_points: list[int],
        more: Mapping[str, Any],
    ) -> None:
        entries = {freeze_at: self._entry(cache, freeze_at, more) for freeze_at in freeze_points}
        missing = {freeze_at: _missing(entry, digests) for freeze_at, entry in entries.items()}
        incomplete = [freeze_at for freeze_at in freeze_points if len(missing[freeze_at])]
        if incomplete and self._stores:
            todo = np.unique(np.concatenate([missing[freeze_at] for freeze_at in incomplete]))
            incomplete = distributed.broadcast(
                lambda: self._fitting(cache, inputs, incomplete, len(todo))
            )
            fault = self._pass(name, inputs, digests, {k: entries[k] for k in incomplete}, todo)
            if distributed.any_process(bool(fault)):
                self._stop_storing(fault)
        for freeze_at, entry in entries.items():
            if len(_missing(entry, digests)):
                if freeze_at in incomplete and self._stores:
                    self._note(
                        f"activations at freeze point {freeze_at} are not in the cache of every "
                        "process: they are computed in every epoch"
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
        """Store the activations of the samples `todo`. Returns why the cache cannot be written to,
        or an empty text."""
        if not entries:
            return ""
        with ExitStack() as stack:
            add = {
                freeze_at: stack.enter_context(entry.writing())
                for freeze_at, entry in entries.items()
            }
            for indices, by_freeze_point in self._engine.activations(
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
                for freeze_at, activations in by_freeze_point.items():
                    add[freeze_at]([digests[k] for k in indices], activations)
        return next((entry.fault for entry in entries.values() if entry.fault), "")

    def _stop_storing(self, fault: str) -> None:
        self._stores = False
        self._note("the cache cannot be written to: other activations are computed in every epoch")
        if fault:
            self._progress.say(fault)

    def _fitting(
        self, cache: Cache, inputs: Inputs, freeze_points: list[int], samples: int
    ) -> list[int]:
        """The freeze points whose activations of so many samples fit together. The deepest comes
        first: it saves the most and is the smallest."""
        _, by_freeze_point = next(
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
            activations = by_freeze_point[freeze_at]
            n = len(next(iter(activations.values())))
            size = samples * sum(t.numel() * t.element_size() for t in activations.values()) // n
            if cache.room_for(total + size):
                total += size
                fitting.append(freeze_at)
            else:
                self._note(
                    f"activations at freeze point {freeze_at} need {size / 1e9:.1f} GB, more than "
                    "the cache may take: they are computed in every epoch"
                )
        return sorted(fitting)

    def _entry(self, cache: Cache, freeze_at: int, more: Mapping[str, Any]) -> Entry:
        prefix = prefix_sha256(
            self._backbone, self._backbone.depth if freeze_at == POOLED else freeze_at
        )
        return cache.entry(self._facts | dict(more) | {"cut": freeze_at, "prefix": prefix})


def _missing(entry: Entry, digests: list[bytes]) -> np.ndarray:
    """Positions of the samples that the entry lacks in the cache of any process."""
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
        **_modality_facts(model),
    }


def _modality_facts(model: Model) -> dict[str, Any]:
    """What determines raw samples, beside their content."""
    facts: dict[str, Any] = {} if model.view.rate is None else {"rate": model.view.rate}
    if plugin := modalities.named(model.source.family.modality).plugin:
        facts["modality"] = code_sha256(type(plugin))
    return facts


def _version(module: str) -> str:
    """Of a module's distribution. Most have the module's name; to search all takes 0.2 s."""
    package = module.partition(".")[0]
    with suppress(PackageNotFoundError):
        return version(package)
    return " ".join(sorted({version(n) for n in packages_distributions().get(package, ())}))
