"""What a plugin's code is, as one hash, so that nothing stored outlives an edit of it."""

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

from zooadapt.family import Family

_CODE = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
_imported: dict[type[Family], str] = {}
_hashes: dict[Path, tuple[int, int, str]] = {}
"""By file: its size, the time it was changed, and its hash."""


def code_sha256(family: type[Family], distribution: Distribution | None = None) -> str:
    """The hash of the code of a family's package, of those of its base classes and of all else in
    its distribution, an editable one's folder included. A class whose files were edited after the
    first call, which should follow its import, has both hashes: nobody knows which it runs."""
    now = _hashed(family, distribution)
    first = _imported.setdefault(family, now)
    return now if now == first else f"{first} {now}"


def _hashed(family: type[Family], distribution: Distribution | None) -> str:
    files = {path for place in places(family) for path in _below(place)}
    if distribution is not None:
        files.update(_distributed(distribution))
    lines = sorted(f"{'/'.join(path.parts[-2:])} {_file_sha256(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def places(family: type[Family]) -> Iterator[Path]:
    """Folders or files of the top-level packages that a class and its bases are from."""
    tops = {base.__module__.partition(".")[0] for base in family.__mro__}
    for top in tops - sys.stdlib_module_names - {__name__.partition(".")[0]}:
        module = sys.modules.get(top)
        if found := list(getattr(module, "__path__", ())):
            yield from map(Path, found)
        elif file := getattr(module, "__file__", None):
            yield Path(file)


def _distributed(distribution: Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        if file.name.endswith(_CODE):
            yield Path(str(file.locate()))
    with suppress(ValueError, AttributeError):  # a record that another installer made
        record = json.loads(distribution.read_text("direct_url.json") or "{}")
        if record.get("dir_info", {}).get("editable"):
            root = Path(unquote(urlsplit(record["url"]).path))
            for place in (root, root / "src"):
                yield from _modules(place)


def _modules(place: Path) -> Iterator[Path]:
    """Code of what can be imported from a folder: a project may hold data sets and environments
    beside it, which nobody wants to walk."""
    with suppress(OSError):
        for path in place.iterdir():
            if path.name.endswith(_CODE) or (path / "__init__.py").exists():
                yield from _below(path)


def _below(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        yield from (Path(folder, name) for name in names if name.endswith(_CODE))


def _file_sha256(path: Path) -> str:
    """Of the content, once for each size and time of change; none for a file that is gone."""
    with suppress(OSError):
        stat = path.stat()
        size, changed, digest = _hashes.get(path, (-1, -1, ""))
        if (stat.st_size, stat.st_mtime_ns) != (size, changed):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            _hashes[path] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest
    return ""
