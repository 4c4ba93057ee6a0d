"""A plugin's modality, whose calls are contained."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from zooadapt.family.modality import Examined, Limits, Modality, View
from zooadapt.runtime.plugin_calls import Owner, blaming

if TYPE_CHECKING:
    import numpy as np


class ModalityProxy(Modality):
    """The same modality; each call raises a ZooadaptError or gives what the interface promises."""

    def __init__(self, plugin: Modality, owner: Owner) -> None:
        self._plugin, self._owner = plugin, owner
        for attribute in inspect.get_annotations(Modality):
            setattr(self, attribute, getattr(plugin, attribute))

    @property
    def plugin(self) -> Modality:
        return self._plugin

    def decode(self, file: BinaryIO, *, name: str, view: View, limits: Limits) -> Any:
        with self._blaming(f"decode() of '{name}'"):
            return self._plugin.decode(file, name=name, view=view, limits=limits)

    def pieces(self, raw: Any) -> Iterable[bytes]:
        with self._blaming("pieces()"):
            return [bytes(piece) for piece in self._plugin.pieces(raw)]

    def synthesise(self, rng: np.random.Generator, *, view: View) -> Any:
        with self._blaming("synthesise()"):
            return self._plugin.synthesise(rng, view=view)

    def extremes(self, *, view: View) -> Sequence[Any]:
        with self._blaming("extremes()"):
            return list(self._plugin.extremes(view=view))

    def joined(self, raws: Sequence[Any]) -> Any:
        with self._blaming("joined()"):
            return self._plugin.joined(raws)

    def is_named_so(self, name: str) -> bool:
        with self._blaming("is_named_so()"):
            return bool(self._plugin.is_named_so(name))

    def begins(self, head: bytes) -> bool:
        with self._blaming("begins()"):
            return bool(self._plugin.begins(head))

    def examine(self, file: BinaryIO, *, name: str, limits: Limits, thoroughly: bool) -> Examined:
        where = f"examine() of '{name}'"
        with self._blaming(where):
            examined = self._plugin.examine(file, name=name, limits=limits, thoroughly=thoroughly)
        if not isinstance(examined, Examined):
            raise self._owner.failed(where, f"it returned a {type(examined).__name__}")
        return examined

    def accepts(self, value: Any) -> bool:
        with self._blaming("accepts()"):
            return bool(self._plugin.accepts(value))

    def is_single(self, value: Any) -> bool:
        with self._blaming("is_single()"):
            return bool(self._plugin.is_single(value))

    def of_value(self, value: Any, *, name: str) -> Any:
        with self._blaming(f"of_value() of '{name}'"):
            return self._plugin.of_value(value, name=name)

    def examine_value(self, raw: Any) -> Examined:
        with self._blaming("examine_value()"):
            return self._plugin.examine_value(raw)

    def viewed(self, raw: Any, view: View) -> Any:
        with self._blaming("viewed()"):
            return self._plugin.viewed(raw, view)

    def memory(self, raw: Any) -> int:
        with self._blaming("memory()"):
            return int(self._plugin.memory(raw))

    def shown(self, raw: Any) -> str | None:
        with self._blaming("shown()"):
            return self._plugin.shown(raw)

    @contextmanager
    def _blaming(self, where: str) -> Iterator[None]:
        with blaming(self._owner, f"{where} of its modality"):
            yield
