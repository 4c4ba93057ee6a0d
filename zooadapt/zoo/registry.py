"""Loads families from entry points; the only importer of plugins. A broken one harms no other."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zooadapt.errors import DataError, PluginError, UsageError, ZooadaptError
from zooadapt.family import API_VERSION, Capabilities, Family
from zooadapt.family.config_keys import nested
from zooadapt.runtime.plugin_calls import Owner, contained
from zooadapt.zoo.plugin_code import code_sha256
from zooadapt.zoo.plugin_proxy import FamilyProxy

GROUP = "zooadapt.families"
SLOW_IMPORT_SECONDS = 5.0
_distributions: dict[type[Family], Distribution] = {}
"""The distribution of each imported class that has one."""


def installed() -> tuple[Owner, ...]:
    """Every plugin by its metadata, sorted by name; `ZOOADAPT_PLUGINS=a,b` selects some."""
    return tuple(_owner(entry) for entry in _entries())


def version_of(family: Family) -> str:
    """Version of a family's distribution; `?` for a family without an entry point."""
    return owner_of(family).version


def owner_of(family: Family) -> Owner:
    """The owner of a family, which may lack an entry point."""
    try:
        return _owner(_entry(family.name))
    except ZooadaptError:
        return Owner(name=family.name, distribution=type(family).__module__, version="?")


def code_of(family: Family) -> str:
    """The `code_sha256` of a family."""
    plugin = family.plugin if isinstance(family, FamilyProxy) else family
    return code_sha256(type(plugin), _distributions.get(type(plugin)))


def describe() -> list[dict[str, Any]]:
    """Every plugin for `plugins list`: its attributes, or the reason why it cannot be loaded."""
    return [_described(entry) for entry in _entries()]


def load(name: str) -> Family:
    """Import and validate a family; its calls are contained.

    Raises: UsageError for a name without a plugin; DataError when two distributions claim the name;
    PluginError when the import fails or the class violates the interface.
    """
    return _load(_entry(name))


def plain(name: str) -> Family:
    """A family without a proxy, for its author.

    Raises: as `load`, also when the constructor fails.
    """
    return _construct(_entry(name))


def load_class(name: str) -> type[Family]:
    """The validated class of a family.

    Raises: as `load`.
    """
    return _import(_entry(name))


def families() -> Iterator[Family]:
    """Every family that can be loaded."""
    for name in _names():
        try:
            family = load(name)
        except ZooadaptError as error:
            _report_conflict(name, error)
        else:
            yield family


def family_for(config: Mapping[str, Any], *, name: str | None = None) -> Family:
    """The family of a `config.json`: the one that the user named by `name`, else the one that an
    export names and that claims it, else the one that claims it. A named family is imported alone.

    Raises: DataError when no installed family or more than one claims it, and as `load`.
    """
    if name is not None:
        return load(name)
    exporter, installed_names = _exporter(config), _names()
    if exporter in installed_names:
        family = load(exporter)
        if family.claims(config):
            return family
    claims, broken = [], []
    for plugin in installed_names:
        try:
            family = load(plugin)
            if family.claims(config):
                claims.append(family)
        except ZooadaptError as error:
            broken.append(str(error))
            _report_conflict(plugin, error)
    if len(claims) == 1:
        return claims[0]
    if claims:
        names = [family.name for family in claims]
        raise DataError(
            f"families {', '.join(names)} all claim this source",
            thing="config.json",
            remedy=f"name one of them: {names[0]}:SOURCE",
        )
    kind = config.get("architecture") or config.get("model_type") or "no architecture"
    details = f"; broken plugins: {'; '.join(broken)}" if broken else ""
    if exporter and exporter not in installed_names:
        details = f"; plugin '{exporter}', which exported it, is not installed{details}"
    raise DataError(
        f"no installed family claims this source ({kind}){details}",
        thing="config.json",
        remedy="zooadapt plugins list",
    )


def bundled() -> dict[str, tuple[str, Path]]:
    """Pretrained models in the packages of working plugins: name -> (family, folder)."""
    return {
        name: (family.name, _folder(load_class(family.name)) / place)
        for family in families()
        for name, place in family.bundled.items()
    }


def _entries() -> list[EntryPoint]:
    selected = os.environ.get("ZOOADAPT_PLUGINS")
    names = None if selected is None else {part.strip() for part in selected.split(",")}
    entries = [e for e in entry_points(group=GROUP) if names is None or e.name in names]
    return sorted(entries, key=lambda entry: (entry.name, entry.value))


def _names() -> list[str]:
    return sorted({entry.name for entry in _entries()})


def _entry(name: str) -> EntryPoint:
    matches = [entry for entry in _entries() if entry.name == name]
    if not matches:
        close = difflib.get_close_matches(name, _names(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"installed: {', '.join(_names())}"
        raise UsageError(
            f"no plugin '{name}' is installed: {hint}", thing=name, remedy="zooadapt plugins list"
        )
    entitled = [entry for entry in matches if _is_named_for(entry)]
    chosen = matches if len(matches) == 1 else entitled
    if len(chosen) != 1:
        raise DataError(
            f"plugin name '{name}' is claimed by {_owners(matches)}, so zooadapt uses none of them",
            thing=name,
            remedy="uninstall all but one of them",
        )
    if others := [entry for entry in matches if entry is not chosen[0]]:
        _print_once(
            f"plugin '{name}' is that of {_owners(chosen)}; zooadapt ignores the one of "
            f"{_owners(others)}, which claims the name too"
        )
    return chosen[0]


def _is_named_for(entry: EntryPoint) -> bool:
    """Whether a distribution has the name that the guide prescribes: `zooadapt-NAME`, or a prefix
    of it for one of several families."""
    distribution = re.sub(r"[-_.]+", "-", _owner(entry).distribution).lower()
    return f"zooadapt-{entry.name}-".startswith(f"{distribution}-")


def _owners(entries: Sequence[EntryPoint]) -> str:
    owners = map(_owner, entries)
    return " and ".join(sorted(f"{owner.distribution} {owner.version}" for owner in owners))


def _exporter(config: Mapping[str, Any]) -> str | None:
    """The family that an export names."""
    name = nested(config, "zooadapt").get("family")
    return name if isinstance(name, str) else None


def _report_conflict(name: str, error: ZooadaptError) -> None:
    """Print that two plugins claim a name. Other broken plugins stay unmentioned."""
    if isinstance(error, DataError) and error.thing == name:
        _print_once(f"{error}. Try: {error.remedy}")


@cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _owner(entry: EntryPoint) -> Owner:
    dist = entry.dist
    return Owner(
        name=entry.name,
        distribution=dist.name if dist else entry.value,
        version=dist.version if dist else "",
    )


def _folder(family: type[Family]) -> Path:
    return Path(inspect.getfile(family)).parent


def _described(entry: EntryPoint) -> dict[str, Any]:
    owner = _owner(entry)
    facts: dict[str, Any] = {
        "name": owner.name,
        "distribution": owner.distribution,
        "version": owner.version,
        "entry_point": entry.value,
        "where": str(entry.dist.locate_file("")) if entry.dist else None,
        "api": None,
        "modality": None,
        "claims": None,
        "can": [],
        "bundled": [],
        "error": None,
        "remedy": None,
    }
    try:
        if (chosen := _owner(_entry(entry.name))) != owner:
            raise _unusable(owner, f"its name is that of {chosen.distribution} {chosen.version}")
        family = load_class(entry.name)
    except ZooadaptError as error:
        return facts | {"error": str(error), "remedy": error.remedy}
    docstring = inspect.getdoc(family) or ""
    return facts | {
        "where": str(_folder(family)),
        "api": family.api,
        "modality": family.modality,
        "claims": " ".join(docstring.partition("\n\n")[0].split()),
        "can": [flag.name for flag in fields(Capabilities) if getattr(family.can, flag.name)],
        "bundled": sorted(family.bundled),
    }


@cache
def _load(entry: EntryPoint) -> Family:
    plugin, owner = _construct(entry), _owner(entry)
    return contained(owner, "its attributes", lambda: FamilyProxy(plugin, owner))


@cache
def _construct(entry: EntryPoint) -> Family:
    return contained(_owner(entry), "its construction", _import(entry), kind=Family)


@cache
def _import(entry: EntryPoint) -> type[Family]:
    owner = _owner(entry)
    with _reporting_slow(owner):
        family = contained(owner, "its import", entry.load)
    if not (inspect.isclass(family) and issubclass(family, Family)):
        raise _unusable(owner, f"its entry point {entry.value} is not a subclass of Family")
    api = getattr(family, "api", None)
    if api != API_VERSION:
        newer = isinstance(api, int) and api > API_VERSION
        raise _unusable(
            owner,
            f"it was written for plugin interface {api}, this zooadapt has {API_VERSION}",
            remedy="update zooadapt, or install an older "
            f"{owner.distribution}" if newer else f"update {owner.distribution}",
        )  # fmt: skip
    missing = sorted(family.__abstractmethods__)
    missing += [a for a in ("name", "modality") if not isinstance(getattr(family, a, None), str)]
    if missing:
        raise _unusable(owner, f"it lacks {', '.join(missing)}")
    if entry.dist is not None:
        _distributions[family] = entry.dist
    code_sha256(family, entry.dist)
    if family.name != entry.name:
        raise _unusable(owner, f"the class is named '{family.name}'")
    if not isinstance(family.can, Capabilities):
        raise _unusable(owner, f"its 'can' is {family.can!r:.80}, not Capabilities")
    for attribute in ("imports", "fetches", "weight_folders"):
        names = getattr(family, attribute)
        if not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
            raise _unusable(owner, f"its '{attribute}' is {names!r:.80}, not a tuple of names")
    if not _maps_names(family.bundled):
        value = f"{family.bundled!r:.80}"
        raise _unusable(owner, f"its 'bundled' is {value}, not a mapping of names to folders")
    return family


def _maps_names(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    )


def _unusable(owner: Owner, why: str, *, remedy: str = "") -> PluginError:
    return PluginError(
        f"plugin '{owner.name}' of {owner.distribution} {owner.version} cannot be used: {why}",
        thing=owner.name,
        remedy=remedy or f"update {owner.distribution}, or uninstall it",
    )


@contextmanager
def _reporting_slow(owner: Owner) -> Iterator[None]:
    """Print the plugin whose import takes long."""

    def report() -> None:
        plugin = f"plugin '{owner.name}' of {owner.distribution} {owner.version}"
        line = f"still importing {plugin} after {SLOW_IMPORT_SECONDS:.0f} s"
        print(line, file=sys.stderr, flush=True)

    timer = threading.Timer(SLOW_IMPORT_SECONDS, report)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
