"""The commit of a repo, and the two kinds of hashes by which the Hub identifies content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.errors import UnavailableError
from zooadapt.runtime import filesystem
from zooadapt.zoo.hub import records

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

EMPTY = frozenset({".gitattributes"})
"""The files of a new repo."""


def commit_of(info: ModelInfo, repo: str) -> str:
    """The commit that the Hub describes. Raises: UnavailableError when the description has none."""
    if info.sha is None or not records.is_commit(info.sha):
        raise UnavailableError(
            f"what answered for '{repo}' is not a Hub: it names no commit",
            thing=repo,
            remedy="check HF_ENDPOINT",
        )
    return info.sha


def of_repo(info: ModelInfo) -> Mapping[str, str | None]:
    """Name -> sha256 of a file in the Hub's large file storage, git's sha1 of any other."""
    return {f.rfilename: f.lfs.sha256 if f.lfs else f.blob_id for f in info.siblings or ()}


def sha256(content: Path | bytes) -> str:
    """Raises: NotFoundError, AccessError or FileError when a file cannot be read."""
    if isinstance(content, Path):
        return filesystem.file_sha256(content)
    return hashlib.sha256(content).hexdigest()


def is_same(content: Path | bytes, digest: str | None) -> bool:
    """Whether content has the hash that the Hub states."""
    if digest is None or len(digest) == 64:
        return digest == sha256(content)
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == digest
