"""Folders of class folders: which files there are, whose they are, and what is wrong with them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooadapt.data import images
from zooadapt.data.dataset import ReadOptions
from zooadapt.errors import AccessError, DataError, NotFoundError

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "test": "test", "testing": "test"}  # fmt: skip
_TINY = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file of a data set: its part, its class folder's name, its path below the root."""

    part: str
    label: str
    path: str


class FileSamples:
    """Image files below a root, examined once: content hash, header, end of file."""

    def __init__(self, root: Path, paths: Sequence[str], options: ReadOptions) -> None:
        self._root, self._paths, self._options = root, paths, options
        self._digests: list[bytes] = []
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return self._paths[index]

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Any:
        name = self._paths[index]
        return images.decode(
            self._root / name,
            name=name,
            min_side=min_side,
            channels=channels,
            max_pixels=self._options.max_pixels,
        )

    def digest(self, index: int) -> bytes:
        return self._digests[index]

    def examine(self) -> list[DataError | None]:
        """Read every file once: its hash, and what its header and its end show to be wrong.

        A file whose end is missing is decoded in full to be sure; with `skip_bad` every file is.
        Raises: AccessError naming a file that may not be read.
        """
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._examine, self._paths))
        self._digests = [digest for digest, _, _ in found]
        seen = Counter(note for _, _, note in found if note)
        self.notes = tuple(f"{count} {what}" for what, count in sorted(seen.items()))
        return [error for _, error, _ in found]

    def keep(self, indices: Sequence[int]) -> None:
        """Forget every other file."""
        self._paths = [self._paths[k] for k in indices]
        self._digests = [self._digests[k] for k in indices]

    def _examine(self, name: str) -> tuple[bytes, DataError | None, str]:
        path = self._root / name
        try:
            content = path.read_bytes()
        except PermissionError as error:
            raise AccessError(
                f"'{name}' may not be read",
                thing=name,
                remedy="change its permissions or remove it",
            ) from error
        look = images.examine(
            content,
            name=name,
            max_pixels=self._options.max_pixels,
            thoroughly=self._options.skip_bad,
        )
        note = ""
        if look.error is None and min(look.size) < _TINY:
            note = f"images with a side below {_TINY} pixels"
        elif look.animated:
            note = "animated images, of which only the first frame is used"
        return hashlib.sha256(content).digest(), look.error, note


def scan(root: Path, *, options: ReadOptions) -> tuple[list[Found], list[str]]:
    """Every image file of a labelled folder in order of part, class and name, and notes.

    The root holds `train/` and `test/` (or `val/`) of class folders, or class folders alone.
    Raises: DataError for an empty class folder; NotFoundError where there is no image at all.
    """
    notes: Counter[str] = Counter()
    top = _subfolders(root, root, options, notes)
    parts = {PARTS[name.lower()]: name for name in top if name.lower() in PARTS}
    if "train" in parts:
        folders = [(part, name) for part, name in sorted(parts.items())]
        extra = sorted(set(top) - set(parts.values()))
        if extra:
            notes[f"folders beside train/ left out: {', '.join(extra[:5])}"] += 1
    else:
        folders = [("all", "")]
    found: list[Found] = []
    for part, name in folders:
        for label in _subfolders(root / name, root, options, notes):
            below = Path(name) / label
            files = sorted(files_below(root, below, options=options, notes=notes))
            if not files:
                raise DataError(
                    f"class folder '{below.as_posix()}' holds no image",
                    thing=below.as_posix(),
                    remedy="remove it or fill it",
                )
            found += [Found(part=part, label=label, path=path) for path in files]
    if not found:
        raise NotFoundError(
            f"'{root}' holds no class folder with images",
            thing=str(root),
            remedy="make one folder for each class and put its images there",
        )
    return found, [f"{what}" + (f" ({n})" if n > 1 else "") for what, n in sorted(notes.items())]


def files_below(
    root: Path, below: Path, *, options: ReadOptions, notes: Counter[str]
) -> Iterator[str]:
    """Image files in a folder and its subfolders, as posix paths below the root; anything that is
    no regular file is counted, links are followed only inside the root, loops never."""
    stack, visited = [below], set()
    while stack:
        folder = stack.pop()
        real = os.path.realpath(root / folder)
        if real in visited:
            continue
        visited.add(real)
        for entry in sorted(_entries(root / folder), key=lambda e: e.name):
            inside = folder / entry.name
            kind = _kind(entry, root, options)
            if kind == "folder":
                stack.append(inside)
            elif kind != "file":
                notes[f"{kind} left out"] += 1
            elif Path(entry.name).suffix.lower() in images.SUFFIXES:
                yield inside.as_posix()
            elif not entry.name.startswith("."):
                notes["files that are no images left out"] += 1


def _subfolders(folder: Path, root: Path, options: ReadOptions, notes: Counter[str]) -> list[str]:
    names = []
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if _kind(entry, root, options) == "folder":
            names.append(entry.name)
    return sorted(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise AccessError(
            f"folder '{folder}' may not be read", thing=str(folder), remedy="change its permissions"
        ) from error


def _kind(entry: os.DirEntry[str], root: Path, options: ReadOptions) -> str:
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.exists():
            return "broken links"
        if not options.follow_links and not target.is_relative_to(os.path.realpath(root)):
            raise DataError(
                f"link '{entry.name}' leads out of '{root.name}', to '{target}'",
                thing=entry.name,
                remedy="--follow-links, if that is meant",
            )
    mode = entry.stat().st_mode
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "pipes, sockets and devices"
