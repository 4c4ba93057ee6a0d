"""The modalities by name: one module of this package each, and those that plugins bring by the
entry point `zooadapt.modalities`."""

from __future__ import annotations

import inspect
import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from zooadapt.errors import DataError, PluginError, UsageError
from zooadapt.family.modality import MODALITY_VERSION, Modality
from zooadapt.runtime.plugin_calls import Owner, contained

GROUP = "zooadapt.modalities"
_BUILT_IN = tuple(sorted(one.name for one in pkgutil.iter_modules(__path__) if one.name[0] != "_"))


def names() -> tuple[str, ...]:
    """The names of all modalities, those of plugins last."""
    brought = {entry.name for entry in entry_points(group=GROUP)}
    return (*_BUILT_IN, *sorted(brought - set(_BUILT_IN)))


@cache
def named(name: str) -> Modality:
    """The modality of this name, imported now; what a plugin brings is contained. A plugin cannot
    replace a built-in one.

    Raises: UsageError for an unknown name; DataError for one that two distributions bring;
    PluginError where its import fails or its class violates the interface.
    """
    if name in _BUILT_IN:
        modality: Modality = import_module(f"{__name__}.{name}").MODALITY
        return modality
    entries = sorted(entry_points(group=GROUP, name=name), key=lambda entry: entry.value)
    if not entries:
        raise UsageError(
            f"no modality '{name}' is installed: there are {', '.join(names())}",
            thing=name,
            remedy="install the plugin that brings it",
        )
    if len(entries) > 1:
        owners = sorted(owner_of(entry).distribution for entry in entries)
        raise DataError(
            f"modality '{name}' is brought by {' and '.join(owners)}, so zooadapt uses none",
            thing=name,
            remedy="uninstall all but one of them",
        )
    from zooadapt.data.modalities._proxy import ModalityProxy

    kind, owner = _class_of(entries[0]), owner_of(entries[0])
    plugin = contained(owner, "its construction", kind, kind=Modality)
    return contained(owner, "its attributes", lambda: ModalityProxy(plugin, owner))


def owner_of(entry: EntryPoint) -> Owner:
    """The distribution that an entry point belongs to."""
    distribution = entry.dist
    return Owner(
        name=entry.name,
        distribution=distribution.name if distribution else entry.value,
        version=distribution.version if distribution else "",
    )


def _class_of(entry: EntryPoint) -> type[Modality]:
    """Raises: PluginError for a class that violates the interface."""
    owner = owner_of(entry)
    kind = contained(owner, "its import", entry.load)
    if not (inspect.isclass(kind) and issubclass(kind, Modality)):
        raise _unusable(owner, f"its entry point {entry.value} is not a subclass of Modality")
    if getattr(kind, "api", None) != MODALITY_VERSION:
        raise _unusable(
            owner,
            f"it was written for modality interface {getattr(kind, 'api', None)}, this zooadapt "
            f"has {MODALITY_VERSION}",
        )
    texts = ("name", "noun", "plural", "pipeline_tag", "example")
    missing = sorted(kind.__abstractmethods__)
    missing += [one for one in texts if not isinstance(getattr(kind, one, None), str)]
    if missing:
        raise _unusable(owner, f"it lacks {', '.join(missing)}")
    if kind.name != entry.name:
        raise _unusable(owner, f"the class is named '{kind.name}'")
    return kind


def _unusable(owner: Owner, why: str) -> PluginError:
    return PluginError(
        f"modality '{owner.name}' of {owner.distribution} {owner.version} cannot be used: {why}",
        thing=owner.name,
        remedy=f"update {owner.distribution}, or uninstall it",
    )
