"""A hash of a plugin's code, so that nothing in the cache outlives an edit of it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CODE = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
_imported: dict[type, str] = {}
_hashes: dict[Path, tuple[int, int, str]] = {}
"""By file: its size, modification time and hash."""


def code_sha256(family: type, distribution: Distribution | None = None) -> str:
    """A hash of the code of a family's package, of its base classes' packages and of the rest of
    its distribution, including the folder of an editable one. A class whose files were edited after
    the first call, which should follow its import, has both hashes: it may run either code."""
    current = _sha256(family, distribution)
    first = _imported.setdefault(family, current)
    return current if current == first else f"{first} {current}"


def _sha256(family: type, distribution: Distribution | None) -> str:
    files = {path for place in places(family) for path in _below(place)}
    if distribution is not None:
        files.update(_distributed(distribution))
    lines = sorted(f"{'/'.join(path.parts[-2:])} {_file_sha256(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def places(family: type) -> Iterator[Path]:
    """Folders or files of the top-level packages that define a class and its bases."""
    tops = {base.__module__.partition(".")[0] for base in family.__mro__}
    for top in tops - sys.stdlib_module_names - {__name__.partition(".")[0]}:
        module = sys.modules.get(top)
        if folders := list(getattr(module, "__path__", ())):
            yield from map(Path, folders)
        elif file := getattr(module, "__file__", None):
            yield Path(file)


def _distributed(distribution: Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        if file.name.endswith(_CODE):
            yield Path(str(file.locate()))
    with suppress(ValueError, AttributeError):  # a record that another installer wrote
        record = json.loads(distribution.read_text("direct_url.json") or "{}")
        if record.get("dir_info", {}).get("editable"):
            root = Path(unquote(urlsplit(record["url"]).path))
            for folder in (root, root / "src"):
                yield from _modules(folder)


def _modules(folder: Path) -> Iterator[Path]:
    """Code that can be imported from a folder, without the data sets and environments in it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.endswith(_CODE) or (path / "__init__.py").exists():
                yield from _below(path)


def _below(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        yield from (Path(folder, name) for name in names if name.endswith(_CODE))


def _file_sha256(path: Path) -> str:
    """Of the content, once for each size and modification time; empty for a deleted file."""
    with suppress(OSError):
        stat = path.stat()
        size, changed, digest = _hashes.get(path, (-1, -1, ""))
        if (stat.st_size, stat.st_mtime_ns) != (size, changed):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            _hashes[path] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest
    return ""
