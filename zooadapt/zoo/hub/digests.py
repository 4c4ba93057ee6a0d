"""The two hashes that the Hub names a file's content by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.runtime import filesystem

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

EMPTY = frozenset({".gitattributes"})
"""What a repo holds that nobody has put anything into."""


def of_repo(info: ModelInfo) -> Mapping[str, str]:
    """Name -> sha256 of a file in the Hub's large file storage, git's sha1 of any other."""
    return {f.rfilename: f.lfs.sha256 if f.lfs else f.blob_id for f in info.siblings or ()}


def sha256(content: Path | bytes) -> str:
    """Raises: NotFoundError, AccessError or FileError when a file cannot be read."""
    if isinstance(content, Path):
        return filesystem.file_sha256(content)
    return hashlib.sha256(content).hexdigest()


def is_same(content: Path | bytes, digest: str | None) -> bool:
    """Whether a content is the one that the Hub names so."""
    if digest is None or len(digest) == 64:
        return digest == sha256(content)
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == digest
