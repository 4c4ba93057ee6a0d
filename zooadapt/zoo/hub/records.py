"""Records of every commit that was ever used: its files, their hashes, its licence.

They lie in the cache folder, one small file per fact, so that concurrent processes need no lock:
equal facts are equal files.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zooadapt.runtime import filesystem

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A commit of a repo as the Hub described it. `digests`: sha256 of a large file, git's sha1
    of a small one."""

    location: str
    revision: str
    sizes: Mapping[str, int | None]
    digests: Mapping[str, str | None]
    license: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def is_repo(location: str) -> bool:
    """Whether a location has the form of a repo id, `ORG/NAME`."""
    return _REPO.fullmatch(location) is not None


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit sha, which never changes its meaning."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def remember_revision(location: str, revision: str, commit: str) -> None:
    """Record the commit of a branch or tag, for later use offline."""
    filesystem.write_file(_repo(location) / "refs" / _plain(revision), commit.encode())


def known_commit(location: str, revision: str) -> str | None:
    """The last recorded commit of a branch or tag."""
    text = _read(_repo(location) / "refs" / _plain(revision))
    return text if is_commit(text) else None


def remember_listing(listing: Listing) -> None:
    """Record a commit's listing, which never changes."""
    filesystem.write_json(_commit(listing.location, listing.revision) / "listing.json",
                     listing.to_json())  # fmt: skip


def known_listing(location: str, commit: str) -> Listing | None:
    """A commit's recorded listing; None if it is absent or unreadable."""
    return _load(_commit(location, commit) / "listing.json")


def remember_sha256(location: str, commit: str, name: str, sha256: str) -> None:
    """Record the sha256 of a verified file."""
    filesystem.write_file(_commit(location, commit) / "sha256" / name, sha256.encode())


def known_sha256(location: str, commit: str, name: str) -> str | None:
    """The recorded sha256 of a file; None if it was never verified."""
    text = _read(_commit(location, commit) / "sha256" / name)
    return text if text and re.fullmatch(r"[0-9a-f]{64}", text) else None


def all_used() -> Iterator[tuple[Listing, tuple[str, ...]]]:
    """Every commit with fetched and verified files, and their names, the newest first."""
    paths = _root().glob("*/*/listing.json")
    for path in sorted(paths, key=lambda path: (-path.stat().st_mtime, path)):
        folder = path.parent / "sha256"
        names = sorted(
            entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file()
        )
        if names and (listing := _load(path)):
            yield listing, tuple(names)


def forget(location: str, commit: str) -> None:
    """Remove the records of a commit. Raises: OutputError or FileError when the disk fails."""
    folder = _commit(location, commit)
    with filesystem.writing(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _load(path: Path) -> Listing | None:
    try:
        return Listing(**json.loads(_read(path) or "null"))
    except (ValueError, TypeError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _root() -> Path:
    return filesystem.cache_home() / "hub"


def _repo(location: str) -> Path:
    return _root() / location.replace("/", "--")


def _commit(location: str, commit: str) -> Path:
    return _repo(location) / commit


def _plain(revision: str) -> str:
    return re.sub(r"[^\w.-]|^\.", lambda match: f"%{ord(match[0]):02x}", revision)
