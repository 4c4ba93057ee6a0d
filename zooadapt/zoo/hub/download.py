"""Files of a commit in huggingface_hub's cache: fetched where they are not there, and each verified
before every use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zooadapt.errors import DataError, UnavailableError, ZooadaptError
from zooadapt.runtime import filesystem
from zooadapt.zoo.hub import digests, records
from zooadapt.zoo.hub.client import call
from zooadapt.zoo.hub.records import Listing

_MAX_FILE = 50_000_000_000
_SMALLEST_LIMIT = 5_000_000
"""Bytes that any answer about a file may have: errors are longer than small files."""
_ABANDONED = 24 * 3600.0
"""Seconds after which a file that nobody wrote to is nobody's."""


def cached_files(
    listing: Listing, names: Sequence[str], offline: bool
) -> tuple[Path, dict[str, str]]:
    """The folder of the commit in huggingface_hub's cache, and the sha256 of each named file.

    Raises: DataError for a file that is not what the Hub says, twice, or offline and damaged;
    UnavailableError offline for one that is not there; and as `call`.
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

    where, commit = listing.location, listing.revision
    found = try_to_load_from_cache(where, name, revision=commit)
    if isinstance(found, str) and (sha256 := _check(listing, name, Path(found))):
        return Path(found), sha256
    if offline:
        raise _unusable_offline(listing, name, there=isinstance(found, str))
    for force in (isinstance(found, str), True):
        path = _download(listing, name, force=force)
        _sweep(path.parents[name.count("/")])
        if sha256 := _check(listing, name, path):
            return path, sha256
    # Other tools look at sizes only and would load it.
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise DataError(
        f"'{name}' of '{where}' is not what the Hub says it is: its hash differs, twice",
        thing=name,
        remedy="try again later, or another revision",
    )


def _bar(name: str) -> type:
    """huggingface_hub's progress bar under the file's name, which is not always in its address."""
    from huggingface_hub.utils import tqdm

    class Named(tqdm):
        def __init__(self, *given, **options):
            super().__init__(*given, **(options | {"desc": name}))

    return Named


def _sweep(snapshot: Path) -> None:
    """Remove what killed downloads left beside the cached files. One that still runs has written
    to its file within the time of a stall."""
    with suppress(OSError):
        for left in snapshot.parents[1].glob("blobs/*.incomplete"):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()


def _check(listing: Listing, name: str, path: Path) -> str | None:
    """The sha256 of a file in the cache, or None when it is not the file it should be."""
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


def _unusable_offline(listing: Listing, name: str, *, there: bool) -> ZooadaptError:
    pull = f"zooadapt pull {listing.location}@{listing.revision} once with a connection"
    if there:
        return DataError(
            f"the cached '{name}' of '{listing.location}' is damaged, and this is offline",
            thing=name,
            remedy=pull,
        )
    return UnavailableError(
        f"'{name}' of '{listing.location}' is not in the cache, and this is offline",
        thing=name,
        remedy=pull,
    )
