"""The walk through a folder: its samples, and what is left out."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import file_error
from zooadapt.errors import DataError
from zooadapt.family.modality import Modality
from zooadapt.runtime.wording import counted

_SYSTEM_FILES = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})

_NOT_READ = {
    "broken link": "broken links",
    "link that leads in a circle": "links that lead in a circle",
    "pipe, socket or device": "pipes, sockets or devices",
}
"""Entries other than files and folders, in the singular and the plural."""


class Tree:
    """A folder of samples. Hidden files are ignored; links are followed inside the root only, and
    never in a circle; everything else that is left out is counted."""

    def __init__(self, root: Path, modality: Modality, options: ReadOptions) -> None:
        self.root, self.modality = root, modality
        self._real, self._options = os.path.realpath(root), options
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._sniffed: Counter[str] = Counter()
        self._listings: dict[Path, list[tuple[str, str]]] = {}

    def leave_out(self, one: str, many: str, count: int = 1) -> None:
        """Count entries that are left out, by their name in the singular and the plural."""
        self._left_out[one, many] += count

    def notes(self) -> list[str]:
        """What was left out, and which files were recognised by their content, with counts."""
        each = sorted(self._left_out.items())
        notes = [f"{counted(count, one, many)} left out" for (one, many), count in each]
        if self._sniffed:
            suffixes = ", ".join(
                suffix or "no suffix" for suffix, _ in self._sniffed.most_common(3)
            )
            one = f"{self.modality.noun} is known by its content"
            many = f"{self.modality.plural} are known by their content"
            notes.append(f"{counted(self._sniffed.total(), one, many)} ({suffixes})")
        return notes

    def folders(self, below: Path) -> list[str]:
        """Names of the folders in a folder, sorted."""
        return [name for name, kind in self._entries(below) if kind == "folder"]

    def holds_samples(self, below: Path) -> bool:
        """Whether a folder itself, without its subfolders, holds a sample."""
        names = self.files_in(below)
        names.sort(key=self.modality.is_named_so, reverse=True)
        return any(self._is_sample(below / name) for name in names)

    def samples_in(self, below: Path) -> list[str]:
        """Names of a folder's own samples, sorted."""
        return [name for name in self.files_in(below) if self._is_sample(below / name)]

    def leave_samples(self, below: Path) -> None:
        """Count a folder's own samples as left out."""
        loose = len(self.samples_in(below))
        if loose:
            nouns = self.modality.noun, self.modality.plural
            one, many = (f"{noun} outside class folders" for noun in nouns)
            self.leave_out(one, many, loose)

    def files_in(self, below: Path) -> list[str]:
        """Names of the regular files in a folder itself, sorted."""
        return [name for name, kind in self._entries(below) if kind == "file"]

    def files(self, below: Path) -> tuple[list[str], Counter[str]]:
        """The samples in a folder and its subfolders, sorted, as posix paths below the root, and
        the suffixes of other files, which are left out."""
        paths: list[str] = []
        others: Counter[str] = Counter()
        waiting, visited = [below], set()
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(self.root / folder)
            if real in visited:
                continue
            visited.add(real)
            for name, kind in self._entries(folder):
                if kind == "folder":
                    waiting.append(folder / name)
                elif kind == "file" and self._is_sample(folder / name):
                    paths.append((folder / name).as_posix())
                    if not self.modality.is_named_so(name):
                        self._sniffed[Path(name).suffix.lower()] += 1
                elif kind == "file":
                    others[Path(name).suffix.lower()] += 1
        if others:
            one = f"file that is no {self.modality.noun}"
            many = f"files that are no {self.modality.plural}"
            self.leave_out(one, many, others.total())
        return sorted(paths), others

    def _is_sample(self, path: Path) -> bool:
        """By the suffix, else by the first bytes."""
        if self.modality.is_named_so(path.name):
            return True
        if not self.modality.sniffed:
            return False
        try:
            with open(self.root / path, "rb") as file:
                return self.modality.begins(file.read(self.modality.sniffed))
        except OSError:  # an unreadable file without a sample's suffix is no sample
            return False

    def _entries(self, below: Path) -> list[tuple[str, str]]:
        """(name, `file` or `folder`) of the entries of a folder, sorted."""
        if below in self._listings:
            return self._listings[below]
        listing = self._listings[below] = []
        try:
            with os.scandir(self.root / below) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith(".") or entry.name in _SYSTEM_FILES:
                        if entry.is_dir():
                            self.leave_out("hidden folder", "hidden folders")
                        continue
                    kind = self._kind(entry, below)
                    if kind in ("file", "folder"):
                        listing.append((entry.name, kind))
                    else:
                        self.leave_out(kind, _NOT_READ[kind])
        except OSError as error:
            raise file_error(error, valid((self.root / below).as_posix())) from error
        return listing

    def _kind(self, entry: os.DirEntry[str], below: Path) -> str:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not os.path.exists(target):
                return "broken link"
            if not self._options.follow_links and not _inside(target, self._real):
                name = valid((below / entry.name).as_posix())
                raise DataError(
                    f"link '{name}' leads out of '{self.root.name}', to '{valid(target)}'",
                    thing=name,
                    remedy="--follow-links, if that is meant",
                )
            ancestors = [os.path.realpath(self.root / path) for path in (below, *below.parents)]
            if any(_inside(folder, target) for folder in ancestors):
                return "link that leads in a circle"
        mode = entry.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        return "file" if stat.S_ISREG(mode) else "pipe, socket or device"


def valid(name: str) -> str:
    """A path as valid Unicode: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _inside(path: str, folder: str) -> bool:
    return path == folder or Path(path).is_relative_to(folder)
