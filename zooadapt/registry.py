"""Entry points to families: the only importer of plugins. A broken one breaks only itself."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zooadapt.errors import DataError, PluginError, UsageError, ZooadaptError
from zooadapt.family import API_VERSION, Family

GROUP = "zooadapt.families"
SLOW_IMPORT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a plugin's metadata says, known without importing it."""

    name: str
    distribution: str
    version: str
    value: str


def installed() -> tuple[Plugin, ...]:
    """Every plugin by metadata alone, sorted by name; `ZOOADAPT_PLUGINS=a,b` leaves only those."""
    return tuple(
        Plugin(
            name=entry.name,
            distribution=entry.dist.name if entry.dist else "?",
            version=entry.dist.version if entry.dist else "?",
            value=entry.value,
        )
        for entry in _entries()
    )


def describe(plugin: Plugin) -> dict[str, Any]:
    """A plugin as `plugins list` shows it: loaded if that can be, else with the reason."""
    facts = {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.value,
        "api": None,
        "modality": None,
        "where": None,
        "error": None,
        "remedy": None,
    }
    try:
        family = load(plugin.name)
    except ZooadaptError as error:
        return facts | {"error": str(error), "remedy": error.remedy}
    return facts | {
        "api": family.api,
        "modality": family.modality,
        "where": str(Path(inspect.getfile(type(family))).parent),
    }


def load(name: str) -> Family:
    """Import and validate one family.

    Raises: UsageError for a name that nobody installed; DataError when two distributions claim the
    name; PluginError when its import fails or it does not keep the interface.
    """
    matches = [entry for entry in _entries() if entry.name == name]
    if not matches:
        known = [entry.name for entry in _entries()]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"installed: {', '.join(known)}"
        raise UsageError(
            f"no plugin '{name}' is installed: {hint}", thing=name, remedy="zooadapt plugins list"
        )
    if len(matches) > 1:
        owners = ", ".join(sorted(_where(entry) for entry in matches))
        raise DataError(
            f"plugin name '{name}' is claimed by {owners}",
            thing=name,
            remedy="uninstall all but one of them",
        )
    return _load(matches[0])


def family_for(config: Mapping[str, Any], *, wanted: str | None = None) -> Family:
    """The family that claims a `config.json`, or the `wanted` one if the user named it.

    Raises: DataError when no installed family or more than one claims it, and as `load`.
    """
    if wanted is not None:
        return load(wanted)
    claims, broken = [], []
    for name in sorted({entry.name for entry in _entries()}):
        try:
            family = load(name)
            if _contained(name, lambda family=family: family.claims(config)):
                claims.append(family)
        except (PluginError, DataError) as error:
            broken.append(f"{name} ({error})")
    if len(claims) == 1:
        return claims[0]
    if claims:
        names = [family.name for family in claims]
        raise DataError(
            f"families {', '.join(names)} all claim this source",
            thing="config.json",
            remedy=f"say which: {names[0]}:SOURCE",
        )
    kind = config.get("architecture") or config.get("model_type") or "no architecture"
    also = f"; broken plugins: {'; '.join(broken)}" if broken else ""
    raise DataError(
        f"no installed family claims this source ({kind}){also}",
        thing="config.json",
        remedy="zooadapt plugins list",
    )


def bundled() -> dict[str, tuple[str, Path]]:
    """Sources that come inside plugins: name -> (family, folder). Broken plugins are left out."""
    found = {}
    for plugin in installed():
        try:
            family = load(plugin.name)
        except (PluginError, DataError):
            continue
        base = Path(inspect.getfile(type(family))).parent
        found.update({name: (plugin.name, base / sub) for name, sub in family.bundled.items()})
    return found


def _entries() -> list[EntryPoint]:
    chosen = os.environ.get("ZOOADAPT_PLUGINS")
    names = None if chosen is None else {part.strip() for part in chosen.split(",")}
    entries = [e for e in entry_points(group=GROUP) if names is None or e.name in names]
    return sorted(entries, key=lambda entry: (entry.name, entry.value))


def _where(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


@cache
def _load(entry: EntryPoint) -> Family:
    started = time.monotonic()
    found = _contained(_where(entry), entry.load)
    seconds = time.monotonic() - started
    if seconds > SLOW_IMPORT_SECONDS:
        print(f"plugin '{entry.name}' took {seconds:.0f} s to import", file=sys.stderr)
    if not (inspect.isclass(found) and issubclass(found, Family)):
        raise _broken(entry, f"its entry point {entry.value} is no Family subclass")
    api = getattr(found, "api", None)
    if api != API_VERSION:
        raise _broken(
            entry,
            f"it was written for plugin interface {api}, this is {API_VERSION}",
            remedy=f"install a version of it for interface {API_VERSION}",
        )
    missing = sorted(found.__abstractmethods__)
    missing += [a for a in ("name", "modality") if not isinstance(getattr(found, a, None), str)]
    if missing:
        raise _broken(entry, f"it lacks {', '.join(missing)}")
    if found.name != entry.name:
        raise _broken(entry, f"the class calls itself '{found.name}'")
    if found.modality not in ("image", "text"):
        raise _broken(entry, f"its modality '{found.modality}' is neither image nor text")
    return _contained(_where(entry), found)


def _broken(entry: EntryPoint, why: str, *, remedy: str = "") -> PluginError:
    return PluginError(
        f"plugin '{entry.name}' of {_where(entry)} cannot be used: {why}",
        thing=entry.name,
        remedy=remedy or f"zooadapt plugins check {entry.name}",
    )


def _contained(who: str, call: Any) -> Any:
    """Call into a plugin: what it prints is kept off stdout, and whatever it raises, an exit or an
    interrupt of its own included, becomes a PluginError with its name."""
    noise = io.StringIO()
    try:
        with contextlib.redirect_stdout(noise), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        detail = str(error) or "no message"
        raise PluginError(
            f"plugin {who} failed: {type(error).__name__}: {detail}",
            thing=who,
            remedy="update or uninstall it; zooadapt plugins list",
        ) from error
    if noise.getvalue():
        print(f"plugin {who} printed: {noise.getvalue().strip()[:200]}", file=sys.stderr)
    return result
