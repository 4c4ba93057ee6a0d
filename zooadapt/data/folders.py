"""Folders of class folders: whose an image is, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.data import depth, images
from zooadapt.data.dataset import Labelled
from zooadapt.data.listing import files_by_class
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import changed, read_bytes
from zooadapt.data.tree import Tree, valid
from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted

if TYPE_CHECKING:
    from PIL.Image import Image

_TINY = 8
_SHOWN = 5


def read_image_folder(root: Path, options: ReadOptions) -> Labelled:
    """The images of a labelled folder in order of part, class and name, each examined once.

    Raises: as `files_by_class`; DataError for broken images.
    """
    listing = files_by_class(Tree(root, options), options)
    files = FileSamples(root, listing.paths, options)
    whole = files.examine()
    return Labelled(
        samples=files,
        rows=whole,
        parts=[listing.parts[k] for k in whole],
        names=[listing.labels[k] for k in whole],
        notes=[*listing.notes, *files.notes],
        white=files.white,
    )


class FileSamples:
    """Image files below a root. Once examined, a file that changes is an error, never another
    picture under the same name."""

    def __init__(self, root: Path, paths: Sequence[str], options: ReadOptions) -> None:
        self._root, self._paths, self._options = root, paths, options
        self._contents: list[bytes] = []
        self._wide: list[bool] = []
        self._sizes: list[tuple[int, int]] = []
        self.white: int | None = None
        """The value that is white, where there are images of 16 bits."""
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return valid(self._paths[index])

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Image:
        name = self.name(index)
        content = self._content(index)
        if hashlib.sha256(content).digest() != self._contents[index]:
            raise changed(name)
        return images.decode(
            content,
            name=name,
            min_side=min_side,
            channels=channels,
            max_pixels=self._options.max_pixels,
            white=self.white or depth.FULL,
        )

    def size(self, index: int) -> tuple[int, int]:
        return self._sizes[index]

    def digest(self, index: int) -> bytes:
        content = self._contents[index]
        return depth.seen_as(content, self.white) if self._wide[index] else content

    def examine(self) -> list[int]:
        """Read every file once, for its hash and what is wrong with it; which files are good.

        With `skip_bad` every file is decoded, to be sure.
        Raises: DataError naming the first few broken files, unless `skip_bad`; AccessError.
        """
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._examine, range(len(self))))
        self._contents = [digest for digest, _ in found]
        looks = [look for _, look in found]
        bad = [k for k, look in enumerate(looks) if look.error is not None]
        if bad and not self._options.skip_bad:
            raise self._refused(bad, looks[bad[0]].error)
        good = [k for k, look in enumerate(looks) if look.error is None]
        seen = Counter(note for k in good for note in _remarks(looks[k]))
        each = sorted(seen.items())
        self.notes = tuple(counted(n, f"image {what}", f"images {what}") for what, n in each)
        if bad:
            self.notes = (f"{counted(len(bad), 'broken image')} left out", *self.notes)
        self._sizes = [look.size for look in looks]
        self._wide = [look.white > 0 for look in looks]
        self.white, notes = depth.common_white([looks[k].white for k in good], self._options.white)
        self.notes += notes
        return good

    def _examine(self, index: int) -> tuple[bytes, images.Look]:
        name = self.name(index)
        content = self._content(index)
        look = images.examine(
            content,
            name=name,
            max_pixels=self._options.max_pixels,
            thoroughly=self._options.skip_bad,
        )
        return hashlib.sha256(content).digest(), look

    def _content(self, index: int) -> bytes:
        return read_bytes(self._root / self._paths[index], name=self.name(index))

    def _refused(self, bad: Sequence[int], first: DataError) -> DataError:
        if len(bad) == 1:
            return first
        more = ", ".join(self.name(k) for k in bad[1:_SHOWN])
        return DataError(
            f"{first}; and {len(bad) - 1} more: {more}", thing=first.thing, remedy=first.remedy
        )


def _remarks(look: images.Look) -> list[str]:
    remarks = []
    if min(look.size) < _TINY:
        remarks.append(f"with a side below {_TINY} pixels")
    if look.frames:
        remarks.append("of several frames, of which only the first is used")
    return remarks
