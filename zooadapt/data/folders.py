"""Images in files, each of which is examined once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.data import depth, images
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.listing import Listing, files_by_class
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import changed_error, read_bytes
from zooadapt.data.tree import Tree, valid
from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted

if TYPE_CHECKING:
    from PIL.Image import Image

_TINY = 8
_LISTED = 5


def read_image_folder(root: Path, options: ReadOptions) -> LabelledRows:
    """The images of a labelled folder in order of part, class and name.

    Raises: as `files_by_class`; DataError for broken images.
    """
    return examined(root, files_by_class(Tree(root, options), options), options)


def examined(root: Path, listing: Listing, options: ReadOptions) -> LabelledRows:
    """The listed images, each of which was read once.

    Raises: DataError for broken images.
    """
    files = FileSamples(root, listing.paths, options)
    intact = files.examine()
    return LabelledRows(
        samples=files,
        rows=intact,
        parts=[listing.parts[k] for k in intact],
        names=[listing.labels[k] for k in intact],
        groups=[listing.groups[k] for k in intact] if listing.groups else (),
        notes=[*listing.notes, *files.notes],
        white=files.white,
    )


class FileSamples:
    """Image files below a root. A file that changes after `examine` is an error when it is read."""

    def __init__(self, root: Path, paths: Sequence[str], options: ReadOptions) -> None:
        self._root, self._paths, self._options = root, paths, options
        self._contents: list[bytes] = []
        self._wide: list[bool] = []
        self._sizes: list[tuple[int, int]] = []
        self.white: int | None = None
        """The white value of 16-bit images; None where there are none."""
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return valid(self._paths[index])

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Image:
        name = self.name(index)
        content = self._content(index)
        if hashlib.sha256(content).digest() != self._contents[index]:
            raise changed_error(name)
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
        return depth.wide_digest(content, self.white) if self._wide[index] else content

    def examine(self) -> list[int]:
        """Read every file once, for its hash and its faults; the positions of intact files.

        With `skip_bad` every file is decoded.
        Raises: DataError naming the first few broken files, unless `skip_bad`; AccessError.
        """
        with ThreadPoolExecutor() as pool:
            examined = list(pool.map(self._examine, range(len(self))))
        self._contents = [digest for digest, _ in examined]
        infos = [info for _, info in examined]
        errors = [(k, info.error) for k, info in enumerate(infos) if info.error is not None]
        bad = [k for k, _ in errors]
        if bad and not self._options.skip_bad:
            raise self._broken(bad, errors[0][1])
        good = [k for k, info in enumerate(infos) if info.error is None]
        remarks = Counter(remark for k in good for remark in _remarks(infos[k]))
        each = sorted(remarks.items())
        self.notes = tuple(counted(n, f"image {what}", f"images {what}") for what, n in each)
        if bad:
            self.notes = (f"{counted(len(bad), 'broken image')} left out", *self.notes)
        self._sizes = [info.size for info in infos]
        self._wide = [info.white > 0 for info in infos]
        self.white, notes = depth.common_white([infos[k].white for k in good], self._options.white)
        self.notes += notes
        return good

    def _examine(self, index: int) -> tuple[bytes, images.ImageInfo]:
        name = self.name(index)
        content = self._content(index)
        info = images.examine(
            content,
            name=name,
            max_pixels=self._options.max_pixels,
            thoroughly=self._options.skip_bad,
        )
        return hashlib.sha256(content).digest(), info

    def _content(self, index: int) -> bytes:
        return read_bytes(self._root / self._paths[index], name=self.name(index))

    def _broken(self, bad: Sequence[int], first: DataError) -> DataError:
        if len(bad) == 1:
            return first
        more = ", ".join(self.name(k) for k in bad[1:_LISTED])
        return DataError(
            f"{first}; and {len(bad) - 1} more: {more}", thing=first.thing, remedy=first.remedy
        )


def _remarks(info: images.ImageInfo) -> list[str]:
    remarks = []
    if min(info.size) < _TINY:
        remarks.append(f"with a side below {_TINY} pixels")
    if info.frames:
        remarks.append("of several frames, of which only the first is used")
    return remarks
