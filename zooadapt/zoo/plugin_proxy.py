"""The border to a plugin: whatever its methods raise or return ends as what the interface says, or
as a PluginError that names it."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zooadapt.errors import PluginError, ZooadaptError, out_of_memory
from zooadapt.family import Activations, Family, Language, Preprocessor, Sample, Stage, Variant

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who answers for a call: the family's name, its distribution and version."""

    name: str
    distribution: str
    version: str

    def failed(self, where: str, why: str) -> PluginError:
        return PluginError(
            f"plugin '{self.name}' of {self.distribution} {self.version} failed in {where}: {why}",
            thing=self.name,
            remedy=f"update {self.distribution}, or report it; "
            f"zooadapt plugins check {self.name} says more",
        )


def contained(owner: Owner, where: str, call: Callable[[], Any], *, kind: Any = object) -> Any:
    """The result of a call into a plugin, an instance of `kind`.

    What the plugin prints is kept off stdout. Raises: the plugin's own ZooadaptErrors, what says
    that memory ran out, and PluginError for all else, an exit or an interrupt of its own included.
    """
    noise = io.StringIO()
    try:
        with blaming(owner, where), contextlib.redirect_stdout(noise), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except KeyboardInterrupt as error:
        raise owner.failed(where, _reason(error)) from error
    if noise.getvalue():
        said = noise.getvalue().strip()[:200]
        print(f"plugin '{owner.name}' printed in {where}: {said}", file=sys.stderr)
    if not isinstance(result, kind):
        wanted = getattr(kind, "__name__", kind)
        raise owner.failed(where, f"it gave a {type(result).__name__}, not a {wanted}")
    return result


@contextlib.contextmanager
def blaming(owner: Owner, where: str) -> Iterator[None]:
    """Around every call into a plugin, in any thread: an error or an exit of its own is a
    PluginError that names it. Raises: as `contained`; an interrupt passes."""
    try:
        yield
    except ZooadaptError:
        raise
    except (Exception, SystemExit) as error:
        if out_of_memory(error):
            raise
        raise owner.failed(where, _reason(error)) from error


def _reason(error: BaseException) -> str:
    message = str(error).strip() or "no message"
    return f"{type(error).__name__}: {message.splitlines()[0]}"


class FamilyProxy(Family):
    """A plugin's family as the core holds it; every call into the plugin is contained."""

    def __init__(self, plugin: Family, owner: Owner) -> None:
        self._plugin, self._owner = plugin, owner
        self.api, self.name, self.modality = plugin.api, plugin.name, plugin.modality
        self.library, self.can, self.imports = plugin.library, plugin.can, plugin.imports
        self.bundled, self.fetches = plugin.bundled, plugin.fetches
        self.weight_folders = plugin.weight_folders

    @property
    def plugin(self) -> Family:
        """The family itself, with nothing in between."""
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
        """Each run of a stage is contained too, and what it gives is looked at; what it prints is
        kept off stdout in its first run alone, since that is for one thread at a time."""
        stages = self._call("stages", lambda: tuple(self._plugin.stages(net)))
        for stage in stages:
            if not (isinstance(stage, Stage) and isinstance(stage.owns, tuple)):
                raise self._owner.failed("stages()", f"'{stage!r:.80}' is no Stage")
        return tuple(self._watched(stage, last=stage is stages[-1]) for stage in stages)

    def head(self, net: nn.Module) -> str:
        from torch import nn

        path = self._call("head", lambda: self._plugin.head(net), kind=str)
        if not isinstance(dict(net.named_modules()).get(path), (nn.Linear, nn.Conv2d)):
            raise self._owner.failed("head()", f"'{path}' is no linear layer of the network")
        return path

    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> Preprocessor:
        made = self._call(
            "preprocessor", lambda: self._plugin.preprocessor(config, augment=augment)
        )
        return PreprocessorProxy(made, self._owner)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        return self._call(
            "native_config", lambda: self._plugin.native_config(config, classes), kind=dict
        )

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
        found = self._call("language", lambda: self._plugin.language(config), kind=Language)
        owner = self._owner
        return replace(
            found,
            encode=lambda text: contained(owner, "language.encode()", lambda: found.encode(text)),
            sample=lambda ids: contained(owner, "language.sample()", lambda: found.sample(ids)),
        )

    def language_config(self, text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
        return self._call(
            "language_config",
            lambda: self._plugin.language_config(text, unit=unit, hidden=hidden, layers=layers),
            kind=dict,
        )

    def _call(self, method: str, call: Callable[[], Any], *, kind: Any = object) -> Any:
        return contained(self._owner, f"{method}()", call, kind=kind)

    def _watched(self, stage: Stage, *, last: bool) -> Stage:
        where, fresh = f"stage '{stage.name}'", True

        def run(activations: Activations) -> Activations:
            nonlocal fresh
            if fresh:
                given = contained(self._owner, where, lambda: stage.run(activations))
                fresh = False
            else:
                with blaming(self._owner, where):
                    given = stage.run(activations)
            if not isinstance(given, Mapping):
                raise self._owner.failed(where, f"it gave a {type(given).__name__}, not a Mapping")
            _check_rows(self._owner, where, given, len(next(iter(activations.values()))))
            if last and ("features" not in given or given["features"].ndim != 2):
                shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
                why = f"it gave {shapes}, not 'features' of shape (N, D)"
                raise self._owner.failed(where, why)
            return given

        return replace(stage, run=run)


class PreprocessorProxy:
    """A plugin's preprocessor; its calls come from several threads, so stdout is left alone."""

    def __init__(self, plugin: Preprocessor, owner: Owner) -> None:
        self._plugin, self._owner = plugin, owner
        self.min_side = contained(
            owner, "preprocessor.min_side", lambda: plugin.min_side, kind=int | None
        )
        if hasattr(plugin, "many"):
            self.many = self._many

    def __call__(self, raw: Any, *, rng: np.random.Generator | None) -> Sample:
        with blaming(self._owner, "preprocessor"):
            return self._plugin(raw, rng=rng)

    def _many(self, raws: Sequence[Any]) -> list[Sample]:
        where = "preprocessor.many()"
        with blaming(self._owner, where):
            samples = self._plugin.many(raws)
        if not isinstance(samples, list) or len(samples) != len(raws):
            raise self._owner.failed(where, f"it gave no list of {len(raws)} samples")
        return samples

    def collate(self, samples: Sequence[Sample]) -> Activations:
        where = "preprocessor.collate()"
        activations = contained(
            self._owner, where, lambda: self._plugin.collate(samples), kind=Mapping
        )
        _check_rows(self._owner, where, activations, len(samples))
        return activations

    def config(self) -> dict:
        return contained(self._owner, "preprocessor.config()", self._plugin.config, kind=dict)

    def seen(self, size: tuple[int, int]) -> float:
        """The share of an image of `size` (width, height) that the eval transform uses; all of it
        where the plugin does not say."""
        if not hasattr(self._plugin, "seen"):
            return 1.0
        where = "preprocessor.seen()"
        return float(
            contained(self._owner, where, lambda: self._plugin.seen(size), kind=(int, float))
        )

    def length(self, raw: Any) -> int:
        """Symbols of a text that is not cut; 0 where the plugin does not count them."""
        if not hasattr(self._plugin, "length"):
            return 0
        return contained(
            self._owner, "preprocessor.length()", lambda: self._plugin.length(raw), kind=int
        )

    def unknowns(self, raw: Any) -> tuple[int, int]:
        """Parts of a sample that the source has no symbol for, and parts in all; none where the
        plugin does not count them."""
        if not hasattr(self._plugin, "unknowns"):
            return 0, 0
        where = "preprocessor.unknowns()"
        return contained(self._owner, where, lambda: self._plugin.unknowns(raw), kind=tuple)


def _check_rows(owner: Owner, where: str, activations: Mapping[str, Any], n: int) -> None:
    from torch import Tensor

    if not activations:
        raise owner.failed(where, "it gave no tensors")
    for name, tensor in activations.items():
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) != n:
            what = tuple(getattr(tensor, "shape", ())) or type(tensor).__name__
            raise owner.failed(where, f"its '{name}' is {what}, not one row for each of {n}")
