"""Which file is which in a Xet store on disk: undocumented, as hf_xet 1.8.0 writes it."""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER, _ENTRY = 48, 48
_VERIFIED, _WITH_SHA256 = 0x80000000, 0x40000000


def hashes(store: Path) -> dict[str, str]:
    """sha256 of each file in the store -> its Xet hash."""
    names = {}
    for shard in store.glob("**/shards/*.mdb"):
        data, at = shard.read_bytes(), _HEADER
        while data[at : at + 32] != b"\xff" * 32:
            flags, count = struct.unpack_from("<II", data, at + 32)
            name, at = _hex(data, at), at + _ENTRY + count * _ENTRY
            at += count * _ENTRY if flags & _VERIFIED else 0
            if flags & _WITH_SHA256:
                names[_hex(data, at)] = name
                at += _ENTRY
    return names


def _hex(data: bytes, at: int) -> str:
    """32 bytes as text; each 8-byte word is little-endian."""
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", data, at))
