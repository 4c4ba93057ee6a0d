"""A source copied to a folder, and the commits of the Hub in this machine's cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zooadapt.errors import DataError
from zooadapt.runtime import filesystem, outputs
from zooadapt.zoo.hub import records
from zooadapt.zoo.hub.source import LOCK, Source, fetch


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A commit with fetched and verified files."""

    location: str
    revision: str
    files: tuple[str, ...]
    bytes: int
    license: str | None


def pull(
    location: str,
    out: Path | None = None,
    *,
    revision: str | None = None,
    names: Sequence[str] = (),
    overwrite: bool = False,
    offline: bool = False,
) -> Source:
    """Fetch a source into the cache and, with `out`, copy it to a folder that needs no network. A
    lock file in it records the commit and each file's sha256.

    Raises: OutputError when `out` exists or cannot be made, and as `fetch`.
    """
    if out is not None:
        outputs.check_output(out, overwrite=overwrite)
    source = fetch(location, revision=revision, names=names, offline=offline)
    if out is None:
        return source
    with outputs.new_folder(out, overwrite=overwrite) as folder:
        for name, sha256 in source.files.items():
            with filesystem.writing(folder / name):
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source.folder / name, folder / name)
            if filesystem.file_sha256(folder / name) != sha256:
                raise DataError(f"'{name}' changed while it was copied", thing=name,
                                remedy="run the command again")  # fmt: skip
        if source.revision is not None:
            lock = {"location": source.location, "revision": source.revision}
            filesystem.write_json(folder / LOCK, lock | {"files": dict(source.files)})
    return replace(source, folder=out)


def cached() -> list[Cached]:
    """The commits that any command fetched from the Hub, the newest first."""
    return [
        Cached(
            location=listing.location, revision=listing.revision, files=names,
            bytes=sum(listing.sizes.get(name) or 0 for name in names), license=listing.license,
        )
        for listing, names in records.all_used()
    ]  # fmt: skip


def cache_folder() -> str:
    """The folder of huggingface_hub's cache."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def remove(entries: Sequence[Cached]) -> None:
    """Remove these commits from huggingface_hub's cache, and their records.

    Raises: OutputError or FileError when the disk fails.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    with suppress(CacheNotFound), filesystem.writing(Path(cache_folder())):
        scan_cache_dir().delete_revisions(*(entry.revision for entry in entries)).execute()
    for entry in entries:
        records.forget(entry.location, entry.revision)
