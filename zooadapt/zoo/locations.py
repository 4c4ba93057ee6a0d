"""The user's spelling of a source: a folder, a bundled name, a Hub repo id or its address, and the
spellings of other tools. An error for any other text suggests similar names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from zooadapt.errors import (
    AccessError,
    NotFoundError,
    UnavailableError,
    UsageError,
    ZooadaptError,
)
from zooadapt.zoo import hub, registry

_HUB, _FOLDER = ("hf-hub", "hf_hub"), "local-dir"
"""timm's prefixes of a repo id and of a folder."""
_HOSTS = ("huggingface.co", "hf.co", "www.huggingface.co")
_REVISIONS = ("tree", "blob", "resolve", "commit")
_SHOWN = 3


def locate(spec: str, *, offline: bool = False) -> tuple[str | None, str, str | None]:
    """`(family, location, commit)` of a source as the user spells it; the location of a bundled
    model is its folder.

    Raises: what `parse` and `hub.resolve` raise, with similar names as remedy.
    """
    family, location, revision = parse(spec)
    if not Path(location).exists() and location in (bundled := registry.bundled()):
        owner, folder = bundled[location]
        family, location = family or owner, str(folder)
    if not Path(location).exists() and (tagged := _tagged(location)):
        error = NotFoundError(f"'{location}' names several sets of weights", thing=location)
        raise _suggesting(error, tagged)
    try:
        return family, location, hub.resolve(location, revision=revision, offline=offline)
    except (NotFoundError, AccessError, UnavailableError) as error:
        names = [] if Path(location).exists() else similar(location, known())
        if not names or location in names:
            raise
        raise _suggesting(error, names) from error


def parse(spec: str) -> tuple[str | None, str, str | None]:
    """`(family, location, revision)` of a source as the user spells it. An existing path is itself,
    whatever its characters. The Hub's addresses and timm's `hf-hub:` and `local-dir:` are parsed.

    Raises: UsageError when it names no location, or is an address of no model on the Hub.
    """
    if Path(spec).exists():
        return None, spec, None
    family, colon, rest = spec.partition(":")
    if not colon or "/" in family or not rest or rest.startswith("//"):
        family, rest = "", spec
    if family == _FOLDER:
        return None, rest, None
    if family in _HUB:
        return (None, *_revision(rest, spec))
    if Path(rest).exists():
        return family or None, rest, None
    if (address := _address(rest)) is not None:
        return (family or None, *address)
    return (family or None, *_revision(rest, spec))


def known() -> list[str]:
    """Names of the bundled models and of those that the installed families know."""
    names = list(registry.bundled())
    for family in registry.families():
        try:
            names += [variant.source for variant in family.variants()]
        except ZooadaptError:
            continue
    return names


def similar(location: str, names: Iterable[str]) -> list[str]:
    """The names that are similar to a location, the likeliest first: those with its last part after
    their `/`, with or without a tag; else those with a similar spelling."""
    names = list(names)
    last = location.rpartition("/")[2].lower()
    short = {name: name.rpartition("/")[2].lower() for name in names}
    for fits in (last.__eq__, lambda name: name.startswith(f"{last}.")):
        if chosen := [name for name in names if fits(short[name])]:
            return chosen
    if "/" in location:
        return difflib.get_close_matches(location, names, n=_SHOWN, cutoff=0.85)
    if chosen := [name for name in names if len(last) > 2 and short[name].startswith(last)]:
        return chosen
    bases = {base.partition(".")[0]: None for base in short.values()}
    close = difflib.get_close_matches(last, bases, n=_SHOWN, cutoff=0.75)
    return [name for base in close for name in names if short[name].partition(".")[0] == base]


def _tagged(location: str) -> list[str]:
    """The known names `ORG/NAME.TAG` of a location `ORG/NAME`; empty for a known name."""
    if "/" not in location:
        return []
    names = known()
    if location in names:
        return []
    return [name for name in names if name.startswith(f"{location}.")]


def _suggesting(error: ZooadaptError, names: list[str]) -> ZooadaptError:
    rest = len(names) - _SHOWN
    more = f"; zooadapt models lists {rest} more" if rest > 0 else ""
    also = f"; or {error.remedy}" if error.remedy and "/" in error.thing else ""
    return type(error)(
        str(error), thing=error.thing, remedy=" or ".join(names[:_SHOWN]) + more + also
    )


def _revision(location: str, spec: str) -> tuple[str, str | None]:
    location, _, revision = location.partition("@")
    if not location:
        raise UsageError(
            f"'{spec}' names no source",
            thing=spec,
            remedy="give a folder, a bundled name or a Hub repo id",
        )
    return location, revision or None


def _address(text: str) -> tuple[str, str | None] | None:
    """Repo id and revision of a Hub address; None for any other text."""
    hosts = {*_HOSTS, urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc} - {""}
    if not re.match(r"https?://", text):
        if text.partition("/")[0] not in hosts:
            return None
        text = f"https://{text}"
    address = urlsplit(text)
    parts = [unquote(part) for part in address.path.split("/") if part]
    if address.netloc not in hosts or len(parts) < 2 or parts[0] in ("datasets", "spaces"):
        raise UsageError(
            f"'{text}' is not the address of a model on the Hub",
            thing=text,
            remedy="give the model's repo id, ORG/NAME, or a folder that holds it",
        )
    location, _, revision = f"{parts[0]}/{parts[1]}".partition("@")
    if len(parts) > 3 and parts[2] in _REVISIONS:
        revision = parts[3]
    return location, revision or None
