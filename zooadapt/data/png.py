"""PNG files chunk by chunk, where a decoder tells too little or refuses too much."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OF_THE_PICTURE = frozenset({b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"})
"""Optional chunks that a picture is read by: transparency, orientation, further frames."""


def without_metadata(content: bytes) -> bytes | None:
    """The same picture without texts, colour profiles and other metadata, nor chunks of a wrong
    checksum that it does not need; None for what is no PNG or has no such chunk."""
    if not content.startswith(SIGNATURE):
        return None
    parts = [SIGNATURE]
    for kind, start, end in _chunks(content):
        if kind[:1].isupper() or kind in _OF_THE_PICTURE and _whole(content, start, end):
            parts.append(content[start:end])
    bare = b"".join(parts)
    return bare if len(bare) < len(content) else None


def significant_bits(content: bytes) -> int:
    """The bits that a PNG says its samples had before they were widened; 0 where it does not."""
    if content.startswith(SIGNATURE):
        for kind, start, end in _chunks(content):
            if kind == b"sBIT":
                return max(content[start + 8 : end - 4][:3], default=0)
            if kind == b"IDAT":
                break
    return 0


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, as far as there are any; the last may be cut off."""
    start = len(SIGNATURE)
    while start + 8 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        yield content[start + 4 : start + 8], start, end
        start = end


def _whole(content: bytes, start: int, end: int) -> bool:
    checksum = int.from_bytes(content[end - 4 : end])
    return end <= len(content) and zlib.crc32(content[start + 4 : end - 4]) == checksum
