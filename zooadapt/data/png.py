"""PNG files chunk by chunk: significant bits, and pictures without their metadata."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE_CHUNKS = frozenset({b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"})
"""Optional chunks that affect the picture: transparency, orientation, further frames."""


def without_metadata(content: bytes) -> bytes | None:
    """The same picture without texts, colour profiles and other metadata, and without optional
    chunks of a wrong checksum; None for other files, and for a PNG without such chunks."""
    if not content.startswith(SIGNATURE):
        return None
    parts = [SIGNATURE]
    for kind, start, end in _chunks(content):
        if kind[:1].isupper() or (kind in _PICTURE_CHUNKS and _is_whole(content, start, end)):
            parts.append(content[start:end])
    bare = b"".join(parts)
    return bare if len(bare) < len(content) else None


def significant_bits(content: bytes) -> int:
    """The bits of a PNG's samples before they were widened, as it declares; 0 without a
    declaration."""
    if content.startswith(SIGNATURE):
        for kind, start, end in _chunks(content):
            if kind == b"sBIT":
                return max(content[start + 8 : end - 4][:3], default=0)
            if kind == b"IDAT":
                break
    return 0


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk; the last one may be cut off."""
    start = len(SIGNATURE)
    while start + 8 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        yield content[start + 4 : start + 8], start, end
        start = end


def _is_whole(content: bytes, start: int, end: int) -> bool:
    checksum = int.from_bytes(content[end - 4 : end])
    return end <= len(content) and zlib.crc32(content[start + 4 : end - 4]) == checksum
