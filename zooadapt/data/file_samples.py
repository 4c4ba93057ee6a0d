"""Samples in files, each of which is examined once."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from zooadapt.data import depth
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.listing import Listing, files_by_class
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import changed_error, read_bytes
from zooadapt.data.tree import Tree, valid
from zooadapt.errors import DataError
from zooadapt.family.modality import Examined, Modality, View
from zooadapt.runtime.wording import counted

_LISTED = 5


def read_folder(root: Path, modality: Modality, options: ReadOptions) -> LabelledRows:
    """The samples of a labelled folder in order of part, class and name.

    Raises: as `files_by_class`; DataError for broken files.
    """
    listing = files_by_class(Tree(root, modality, options), options)
    return examined(root, listing, modality, options)


def examined(
    root: Path, listing: Listing, modality: Modality, options: ReadOptions
) -> LabelledRows:
    """The listed files, each of which was read once.

    Raises: DataError for broken files.
    """
    files = FileSamples(root, listing.paths, modality, options)
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
    """Files below a root. A file that changes after `examine` is an error when it is read."""

    def __init__(
        self, root: Path, paths: Sequence[str], modality: Modality, options: ReadOptions
    ) -> None:
        self._root, self._paths = root, paths
        self._modality, self._options = modality, options
        self._contents: list[bytes] = []
        self._examined: list[Examined] = []
        self.white: int | None = None
        """The white value of 16-bit images; None where there are none."""
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return valid(self._paths[index])

    def raw(self, index: int, view: View) -> Any:
        name = self.name(index)
        content = self._content(index)
        if hashlib.sha256(content).digest() != self._contents[index]:
            raise changed_error(name)
        return self._modality.decode(
            io.BytesIO(content),
            name=name,
            view=replace(view, white=self.white),
            limits=self._options.limits,
        )

    def size(self, index: int) -> tuple[int, int]:
        return self._examined[index].size

    def digest(self, index: int) -> bytes:
        content = self._contents[index]
        is_wide = self._examined[index].white > 0
        return depth.wide_digest(content, self.white) if is_wide else content

    def examine(self) -> list[int]:
        """Read every file once, for its hash and its faults; the positions of intact files.

        With `skip_bad` every file is decoded.
        Raises: DataError naming the first few broken files, unless `skip_bad`; AccessError.
        """
        with ThreadPoolExecutor() as pool:
            examined = list(pool.map(self._examine, range(len(self))))
        self._contents = [digest for digest, _ in examined]
        infos = self._examined = [info for _, info in examined]
        errors = [(k, info.error) for k, info in enumerate(infos) if info.error is not None]
        bad = [k for k, _ in errors]
        if bad and not self._options.skip_bad:
            raise self._broken(bad, errors[0][1])
        good = [k for k, info in enumerate(infos) if info.error is None]
        remarks = Counter(remark for k in good for remark in infos[k].remarks)
        one, many = self._modality.noun, self._modality.plural
        each = sorted(remarks.items())
        self.notes = tuple(counted(n, f"{one} {what}", f"{many} {what}") for what, n in each)
        if bad:
            broken = counted(len(bad), f"broken {one}", f"broken {many}")
            self.notes = (f"{broken} left out", *self.notes)
        self.white, notes = depth.common_white([infos[k].white for k in good], self._options.white)
        self.notes += notes
        return good

    def _examine(self, index: int) -> tuple[bytes, Examined]:
        content = self._content(index)
        info = self._modality.examine(
            io.BytesIO(content),
            name=self.name(index),
            limits=self._options.limits,
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
