"""The cache of earlier commands on this machine: its content, and its removal."""

from __future__ import annotations

from typing import Any

from zooadapt.runtime import filesystem, locks
from zooadapt.zoo import hub

FEATURES, SOURCE = "features", "source"
_FEATURES = "carries"
"""The folder of stored activations in the cache."""


def stored() -> list[dict[str, Any]]:
    """The content of the cache, the largest entry first: all stored features as one entry, each
    downloaded model, and small facts by kind. `kind` is `features`, `source` or `facts`."""
    home = filesystem.cache_home()
    folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    rows = [
        {
            "kind": FEATURES if path.name == _FEATURES else "facts",
            "name": path.name,
            "bytes": filesystem.folder_size(path),
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
    """Remove all stored features except those in use by a run; the number of bytes freed."""
    freed = 0
    folder = filesystem.cache_home() / _FEATURES
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        size = filesystem.folder_size(path)
        if path.is_dir() and locks.remove_unlocked(path):
            freed += size
    return freed


def clear_sources() -> int:
    """Remove every model that zooadapt downloaded; the number of bytes freed.

    Raises: FileError or OutputError when the disk fails.
    """
    entries = hub.cached()
    hub.remove(entries)
    return sum(entry.bytes for entry in entries)
