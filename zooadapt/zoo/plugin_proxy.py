"""Proxies of a plugin's objects: each call returns what the interface promises, or raises a
PluginError that names the plugin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from zooadapt.family import Activations, Family, Language, Preprocessor, Sample, Stage, Variant
from zooadapt.family.portable import Portable
from zooadapt.runtime.plugin_calls import Owner, blaming, contained

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

T = TypeVar("T")


class FamilyProxy(Family):
    """A plugin's family with the same attributes; every call into the plugin is contained."""

    def __init__(self, plugin: Family, owner: Owner) -> None:
        self._plugin, self._owner = plugin, owner
        for attribute in inspect.get_annotations(Family):
            setattr(self, attribute, getattr(plugin, attribute))

    @property
    def plugin(self) -> Family:
        """The plugin's own family, without a proxy."""
        return self._plugin

    def variants(self) -> Iterable[Variant]:
        return self._call("variants", lambda: tuple(self._plugin.variants()))

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return self._call("examples", self._plugin.examples, kind=Mapping)

    def claims(self, config: Mapping[str, Any]) -> bool:
        return bool(self._call("claims", lambda: self._plugin.claims(config)))

    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        from torch import nn

        return self._call("build", lambda: self._plugin.build(config, num_classes), kind=nn.Module)

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        """Each run of a stage is contained too, and its result checked. Its first run alone
        redirects stdout, which one thread at a time can do."""
        stages = self._call("stages", lambda: tuple(self._plugin.stages(net)))
        for stage in stages:
            if not (isinstance(stage, Stage) and isinstance(stage.owns, tuple)):
                raise self._owner.failed("stages()", f"'{stage!r:.80}' is not a Stage")
        return tuple(self._contained_stage(stage, last=stage is stages[-1]) for stage in stages)

    def head(self, net: nn.Module) -> str:
        from torch import nn

        path = self._call("head", lambda: self._plugin.head(net), kind=str)
        if not isinstance(dict(net.named_modules()).get(path), (nn.Linear, nn.Conv2d)):
            raise self._owner.failed("head()", f"'{path}' is not a linear layer of the network")
        return path

    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> Preprocessor:
        preprocessor = self._call(
            "preprocessor", lambda: self._plugin.preprocessor(config, augment=augment)
        )
        return PreprocessorProxy(preprocessor, self._owner)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        return self._call(
            "native_config", lambda: self._plugin.native_config(config, classes), kind=dict
        )

    def task_config(self, task: str) -> Mapping[str, Any]:
        return self._call("task_config", lambda: self._plugin.task_config(task), kind=Mapping)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        return self._call("convert", lambda: self._plugin.convert(state, config), kind=Mapping)

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        return self._call(
            "native_state", lambda: self._plugin.native_state(state, config), kind=Mapping
        )

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return self._call("classes", lambda: self._plugin.classes(config), kind=Sequence | None)

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str | None:
        return self._call(
            "usage", lambda: self._plugin.usage(config, place, on_hub=on_hub), kind=str | None
        )

    def export_library(self, config: Mapping[str, Any]) -> str:
        return self._call("export_library", lambda: self._plugin.export_library(config), kind=str)

    def sample_rate(self, config: Mapping[str, Any]) -> int | None:
        return self._call("sample_rate", lambda: self._plugin.sample_rate(config), kind=int | None)

    def with_input(
        self, config: Mapping[str, Any], *, size: int | None = None, channels: int | None = None
    ) -> dict[str, Any]:
        return self._call(
            "with_input",
            lambda: self._plugin.with_input(config, size=size, channels=channels),
            kind=dict,
        )

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        return self._call(
            "with_length", lambda: self._plugin.with_length(config, length), kind=dict
        )

    def poolings(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        return self._call("poolings", lambda: self._plugin.poolings(config), kind=Mapping)

    def with_crop(self, config: Mapping[str, Any], *, crop: str) -> dict[str, Any]:
        return self._call("with_crop", lambda: self._plugin.with_crop(config, crop=crop), kind=dict)

    def language(self, config: Mapping[str, Any]) -> Language:
        model = self._call("language", lambda: self._plugin.language(config), kind=Language)
        owner = self._owner
        return replace(
            model,
            encode=lambda text: contained(owner, "language.encode()", lambda: model.encode(text)),
            sample=lambda ids: contained(owner, "language.sample()", lambda: model.sample(ids)),
        )

    def language_config(self, text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
        return self._call(
            "language_config",
            lambda: self._plugin.language_config(text, unit=unit, hidden=hidden, layers=layers),
            kind=dict,
        )

    def _call(self, method: str, call: Callable[[], T], *, kind: Any = object) -> T:
        return contained(self._owner, f"{method}()", call, kind=kind)

    def _contained_stage(self, stage: Stage, *, last: bool) -> Stage:
        where, first = f"stage '{stage.name}'", True

        def run(activations: Activations) -> Activations:
            nonlocal first
            if first:
                output = contained(self._owner, where, lambda: stage.run(activations))
                first = False
            else:
                with blaming(self._owner, where):
                    output = stage.run(activations)
            if not isinstance(output, Mapping):
                why = f"it returned a {type(output).__name__}, not a Mapping"
                raise self._owner.failed(where, why)
            # Not `len`: while torch exports, a size is a symbol.
            _check_rows(self._owner, where, output, next(iter(activations.values())).shape[0])
            if last and ("features" not in output or output["features"].ndim != 2):
                shapes = {name: tuple(tensor.shape) for name, tensor in output.items()}
                why = f"it returned {shapes}, not 'features' of shape (N, D)"
                raise self._owner.failed(where, why)
            return output

        return replace(stage, run=run)


class PreprocessorProxy:
    """A plugin's preprocessor. Several threads call it, so that stdout is not redirected."""

    def __init__(self, plugin: Preprocessor, owner: Owner) -> None:
        self._plugin, self._owner = plugin, owner
        self.min_side = contained(
            owner, "preprocessor.min_side", lambda: plugin.min_side, kind=int | None
        )
        if (many := getattr(plugin, "many", None)) is not None:
            self.many = partial(self._many, many)

    def __call__(self, raw: Any, *, rng: np.random.Generator | None) -> Sample:
        with blaming(self._owner, "preprocessor"):
            return self._plugin(raw, rng=rng)

    def _many(
        self, many: Callable[[Sequence[Any]], list[Sample]], raws: Sequence[Any]
    ) -> list[Sample]:
        where = "preprocessor.many()"
        with blaming(self._owner, where):
            samples = many(raws)
        if not isinstance(samples, list) or len(samples) != len(raws):
            raise self._owner.failed(where, f"it did not return a list of {len(raws)} samples")
        return samples

    def collate(self, samples: Sequence[Sample]) -> Activations:
        activations = self._call("collate", lambda: self._plugin.collate(samples), kind=Mapping)
        _check_rows(self._owner, "preprocessor.collate()", activations, len(samples))
        return activations

    def config(self) -> dict[str, Any]:
        return self._call("config", self._plugin.config, kind=dict)

    def portable(self) -> Portable | None:
        """The eval transform as data; None if the plugin lacks this method."""
        portable: Callable[[], Portable | None] | None = getattr(self._plugin, "portable", None)
        return None if portable is None else self._call("portable", portable, kind=Portable | None)

    def seen(self, size: tuple[int, int]) -> float:
        """The share of an image of `size` (width, height) that the eval transform uses; 1 if the
        plugin lacks this method."""
        seen: Callable[[tuple[int, int]], float] | None = getattr(self._plugin, "seen", None)
        if seen is None:
            return 1.0
        return float(self._call("seen", lambda: seen(size), kind=(int, float)))

    def length(self, raw: Any) -> int:
        """The number of symbols of a text before truncation; 0 if the plugin lacks this method."""
        length: Callable[[Any], int] | None = getattr(self._plugin, "length", None)
        return 0 if length is None else self._call("length", lambda: length(raw), kind=int)

    def unknowns(self, raw: Any) -> tuple[int, int]:
        """The numbers of unknown symbols and of all symbols of a text; zeros if the plugin lacks
        this method."""
        unknowns: Callable[[Any], tuple[int, int]] | None = getattr(self._plugin, "unknowns", None)
        if unknowns is None:
            return 0, 0
        return self._call("unknowns", lambda: unknowns(raw), kind=tuple)

    def _call(self, method: str, call: Callable[[], T], *, kind: Any) -> T:
        return contained(self._owner, f"preprocessor.{method}()", call, kind=kind)


def _check_rows(owner: Owner, where: str, activations: Mapping[str, Any], n: int) -> None:
    from torch import Tensor

    if not activations:
        raise owner.failed(where, "it returned no tensors")
    for name, tensor in activations.items():
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or tensor.shape[0] != n:
            shape = tuple(getattr(tensor, "shape", ())) or type(tensor).__name__
            raise owner.failed(where, f"its '{name}' is {shape}, not one row for each of {n}")
