"""Files of a commit in huggingface_hub's cache: downloaded if absent, and verified before every
use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zooadapt.errors import DataError, UnavailableError, ZooadaptError
from zooadapt.runtime import filesystem
from zooadapt.zoo.hub import digests, records
from zooadapt.zoo.hub.client import call
from zooadapt.zoo.hub.records import Listing

_MAX_FILE = 50_000_000_000
_SMALLEST_LIMIT = 5_000_000
"""Bytes allowed in any answer about a file: error pages are longer than small files."""
_ABANDONED = 24 * 3600.0
"""Seconds without a write after which a partial download counts as abandoned."""


def cached_files(
    listing: Listing, names: Sequence[str], offline: bool
) -> tuple[Path, dict[str, str]]:
    """The folder of the commit in huggingface_hub's cache, and the sha256 of each named file.

    Raises: DataError for a file whose hash differs from the Hub's in two downloads, or in the cache
    while offline; UnavailableError for a file that is not in the cache while offline; as `call`.
    """
    files: dict[str, str] = {}
    folders = set()
    for name in names:
        path, files[name] = _verified(listing, name, offline)
        folders.add(path.parents[name.count("/")])
    if len(folders) != 1:
        raise UnavailableError(
            f"what answered for '{listing.location}' is not a Hub: it mixes commits",
            thing=listing.location,
            remedy="check HF_ENDPOINT",
        )
    return folders.pop(), files


def _verified(listing: Listing, name: str, offline: bool) -> tuple[Path, str]:
    from huggingface_hub import try_to_load_from_cache

    location, commit = listing.location, listing.revision
    cached = try_to_load_from_cache(location, name, revision=commit)
    if isinstance(cached, str) and (sha256 := _check(listing, name, Path(cached))):
        return Path(cached), sha256
    if offline:
        raise _unusable_offline(listing, name, damaged=isinstance(cached, str))
    for force in (isinstance(cached, str), True):
        path = _download(listing, name, force=force)
        _sweep(path.parents[name.count("/")])
        if sha256 := _check(listing, name, path):
            return path, sha256
    # Other tools check sizes alone and would load the file.
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise DataError(
        f"'{name}' of '{location}' is not what the Hub describes: its hash differs, twice",
        thing=name,
        remedy="try again later, or another revision",
    )


def _bar(name: str) -> type[Any]:
    """huggingface_hub's progress bar with the file's name, which its address may lack."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # a lazy re-export

    class NamedBar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options["desc"] = name
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]

    return NamedBar


def _sweep(snapshot: Path) -> None:
    """Remove the partial files of killed downloads. A running download has written to its file
    within the time of a stall."""
    with suppress(OSError):
        for partial in snapshot.parents[1].glob("blobs/*.incomplete"):
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink()


def _check(listing: Listing, name: str, path: Path) -> str | None:
    """The sha256 of a file in the cache; None unless it equals the recorded or stated hash."""
    try:
        sha256 = filesystem.file_sha256(path)
    except ZooadaptError:
        return None
    known = records.known_sha256(listing.location, listing.revision, name)
    if known is None and digests.is_same(path, listing.digests[name]):
        records.remember_sha256(listing.location, listing.revision, name, sha256)
        known = sha256
    return sha256 if sha256 == known else None


def _download(listing: Listing, name: str, *, force: bool) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        call(
            lambda: hf_hub_download(
                listing.location, name, revision=listing.revision, library_name="zooadapt",
                force_download=force, tqdm_class=_bar(name),
            ),
            repo=listing.location,
            largest=max(listing.sizes[name] or _MAX_FILE, _SMALLEST_LIMIT),
        )
    )  # fmt: skip


def _unusable_offline(listing: Listing, name: str, *, damaged: bool) -> ZooadaptError:
    pull = f"zooadapt pull {listing.location}@{listing.revision} once with a connection"
    if damaged:
        return DataError(
            f"the cached '{name}' of '{listing.location}' is damaged, and this run is offline",
            thing=name,
            remedy=pull,
        )
    return UnavailableError(
        f"'{name}' of '{listing.location}' is not in the cache, and this run is offline",
        thing=name,
        remedy=pull,
    )
