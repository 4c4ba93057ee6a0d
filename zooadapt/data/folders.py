"""Folders of class folders: which files there are, whose they are, and what is wrong with them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.data import images
from zooadapt.data.dataset import Labelled, ReadOptions
from zooadapt.data.reading import changed, of_file, read_bytes
from zooadapt.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "test": "test", "testing": "test"}  # fmt: skip
_TINY = 8
_SHOWN = 5


def read_image_folder(root: Path, options: ReadOptions) -> Labelled:
    """The images of a labelled folder in order of part, class and name, each examined once.

    The root holds `train/` and `test/` (or `val/`) of class folders, or class folders alone.
    Raises: DataError for an empty class folder or broken images; NotFoundError where there is no
    image at all; AccessError.
    """
    tree = Tree(root, options)
    parts, labels, paths = [], [], []
    for part, below in _class_folders(tree):
        found = _class_files(tree, below)
        parts += [part] * len(found)
        labels += [below.name] * len(found)
        paths += found
    if not paths:
        raise NotFoundError(
            f"'{root}' holds no class folder with images",
            thing=str(root),
            remedy="make one folder for each class and put its images there",
        )
    files = FileSamples(root, paths, options)
    kept = files.examine()
    notes = tree.notes()
    if len(kept) < len(paths):
        notes.append(f"{len(paths) - len(kept)} broken images left out")
    return Labelled(
        samples=files,
        rows=kept,
        parts=[parts[k] for k in kept],
        names=[labels[k] for k in kept],
        notes=[*notes, *files.notes],
    )


class FileSamples:
    """Image files below a root. Once examined, a file that changes is an error, never another
    picture under the same name."""

    def __init__(self, root: Path, paths: Sequence[str], options: ReadOptions) -> None:
        self._root, self._paths, self._options = root, paths, options
        self._digests: list[bytes] = []
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return valid(self._paths[index])

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Image:
        name = self.name(index)
        content = read_bytes(self._root / self._paths[index], name=name)
        if hashlib.sha256(content).digest() != self._digests[index]:
            raise changed(name)
        return images.decode(
            content,
            name=name,
            min_side=min_side,
            channels=channels,
            max_pixels=self._options.max_pixels,
        )

    def digest(self, index: int) -> bytes:
        return self._digests[index]

    def examine(self) -> list[int]:
        """Read every file once, for its hash and what is wrong with it; which files are good.

        With `skip_bad` every file is decoded, to be sure.
        Raises: DataError naming the first few broken files, unless `skip_bad`; AccessError.
        """
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._examine, range(len(self))))
        self._digests = [digest for digest, _ in found]
        looks = [look for _, look in found]
        bad = [k for k, look in enumerate(looks) if look.error is not None]
        if bad and not self._options.skip_bad:
            raise self._refused(bad, looks[bad[0]].error)
        good = [k for k, look in enumerate(looks) if look.error is None]
        seen = Counter(note for k in good for note in _remarks(looks[k]))
        self.notes = tuple(f"{count} {what}" for what, count in sorted(seen.items()))
        return good

    def _examine(self, index: int) -> tuple[bytes, images.Look]:
        name = self.name(index)
        content = read_bytes(self._root / self._paths[index], name=name)
        look = images.examine(
            content,
            name=name,
            max_pixels=self._options.max_pixels,
            thoroughly=self._options.skip_bad,
        )
        return hashlib.sha256(content).digest(), look

    def _refused(self, bad: Sequence[int], first: DataError) -> DataError:
        if len(bad) == 1:
            return first
        more = ", ".join(self.name(k) for k in bad[1:_SHOWN])
        return DataError(
            f"{first}; and {len(bad) - 1} more: {more}", thing=first.thing, remedy=first.remedy
        )


class Tree:
    """A folder as far as it may be read. Hidden entries are passed over; links are followed inside
    the root only, circles never; what else is left out is counted."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self._real, self._options = os.path.realpath(root), options
        self._left_out: Counter[str] = Counter()

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count something that is not read."""
        self._left_out[what] += count

    def notes(self) -> list[str]:
        """What was left out, and how often."""
        return [f"{count} {what} left out" for what, count in sorted(self._left_out.items())]

    def folders(self, below: Path) -> list[str]:
        """Names of the folders in a folder, sorted."""
        found = self._entries(below)
        loose = [name for name, kind in found if kind == "file" and _is_image(name)]
        if loose:
            self.leave_out("images outside class folders", len(loose))
        return [name for name, kind in found if kind == "folder"]

    def top_files(self) -> list[str]:
        """Names of the regular files in the root, sorted."""
        return [name for name, kind in self._entries(Path()) if kind == "file"]

    def files(self, below: Path) -> tuple[list[str], Counter[str]]:
        """Image files in a folder and its subfolders, sorted, as posix paths below the root, and
        the suffixes of other files there, which are left out."""
        paths, others = [], Counter()
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
                elif kind == "file" and _is_image(name):
                    paths.append((folder / name).as_posix())
                elif kind == "file":
                    others[Path(name).suffix.lower()] += 1
        if others:
            self.leave_out("files that are no images", others.total())
        return sorted(paths), others

    def _entries(self, below: Path) -> list[tuple[str, str]]:
        """(name, `file` or `folder`) of what is in a folder, sorted."""
        found = []
        try:
            with os.scandir(self.root / below) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        if entry.is_dir():
                            self.leave_out("hidden folders")
                        continue
                    kind = self._kind(entry, below)
                    if kind in ("file", "folder"):
                        found.append((entry.name, kind))
                    else:
                        self.leave_out(kind)
        except OSError as error:
            raise of_file(error, valid((self.root / below).as_posix())) from error
        return found

    def _kind(self, entry: os.DirEntry[str], below: Path) -> str:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not os.path.exists(target):
                return "broken links"
            if not self._options.follow_links and not _inside(target, self._real):
                name = valid((below / entry.name).as_posix())
                raise DataError(
                    f"link '{name}' leads out of '{self.root.name}', to '{valid(target)}'",
                    thing=name,
                    remedy="--follow-links, if that is meant",
                )
            way = [os.path.realpath(self.root / folder) for folder in (below, *below.parents)]
            if any(_inside(folder, target) for folder in way):
                return "links that lead in a circle"
        mode = entry.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        return "file" if stat.S_ISREG(mode) else "pipes, sockets or devices"


def _class_folders(tree: Tree) -> list[tuple[str, Path]]:
    """Each class folder with its part, which is `all` where the root is not divided."""
    top = tree.folders(Path())
    found: dict[str, str] = {}
    for name in top:
        part = PARTS.get(name.lower())
        if part in found:
            raise DataError(
                f"'{found[part]}' and '{name}' of '{tree.root.name}' mean the same part",
                thing=name,
                remedy="merge them or rename one",
            )
        if part:
            found[part] = name
    if "train" not in found:
        if found and len(found) == len(top):
            raise DataError(
                f"'{tree.root.name}' holds '{top[0]}' and no 'train' folder",
                thing=str(tree.root),
                remedy="add train, or give a folder that holds the class folders alone",
            )
        return [("all", Path(name)) for name in top]
    extra = [name for name in top if name.lower() not in PARTS]
    if extra:
        shown = ", ".join(extra[:_SHOWN]) + (", ..." if len(extra) > _SHOWN else "")
        tree.leave_out(f"folders beside train ({shown})", len(extra))
    return [
        (part, Path(name, label))
        for part, name in sorted(found.items())
        for label in tree.folders(Path(name))
    ]


def _class_files(tree: Tree, below: Path) -> list[str]:
    name = below.as_posix()
    if valid(name) != name:
        raise DataError(
            f"the name of class folder '{valid(name)}' is no valid Unicode",
            thing=valid(name),
            remedy="rename it",
        )
    paths, others = tree.files(below)
    if not paths:
        kinds = ", ".join(suffix or "no suffix" for suffix, _ in others.most_common(3))
        raise DataError(
            f"class folder '{name}' holds no image"
            + (f", only {others.total()} other files ({kinds})" if others else ""),
            thing=name,
            remedy="convert them to JPEG or PNG" if others else "remove it or fill it",
        )
    return paths


def _remarks(look: images.Look) -> list[str]:
    remarks = []
    if min(look.size) < _TINY:
        remarks.append(f"images with a side below {_TINY} pixels")
    if look.frames:
        remarks.append("images of several frames, of which only the first is used")
    return remarks


def valid(name: str) -> str:
    """A path as text that any output can take: bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in images.SUFFIXES


def _inside(path: str, folder: str) -> bool:
    return path == folder or Path(path).is_relative_to(folder)
