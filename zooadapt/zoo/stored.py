"""What lies on this machine's disk from earlier commands, and getting rid of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zooadapt.runtime import filesystem, locks
from zooadapt.zoo import hub

FEATURES, SOURCE = "features", "source"
_FEATURES = "carries"
"""The folder of stored features in the cache."""


def stored() -> list[dict[str, Any]]:
    """What is stored, the largest first: the features of each network at each stage as one, every
    downloaded source, and small facts by kind. `kind` is `features`, `source` or `facts`."""
    home = filesystem.cache_home()
    folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    rows = [
        {
            "kind": FEATURES if path.name == _FEATURES else "facts",
            "name": path.name,
            "bytes": _bytes(path),
            "place": str(path),
        }
        for path in folders
    ]
    rows += [
        {
            "kind": SOURCE,
            "name": f"{entry.location}@{entry.revision}",
            "bytes": entry.bytes,
            "place": hub.cache_folder(),
        }
        for entry in hub.cached()
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def clear_features() -> int:
    """Remove all stored features that no run is using. Bytes that were freed."""
    freed = 0
    place = filesystem.cache_home() / _FEATURES
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        size = _bytes(path)
        if path.is_dir() and locks.remove_unlocked(path):
            freed += size
    return freed


def clear_sources() -> int:
    """Remove every source that was downloaded by zooadapt. Bytes that were freed.

    Raises: FileError or OutputError where the disk refuses.
    """
    entries = hub.cached()
    hub.remove(entries)
    return sum(entry.bytes for entry in entries)


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
