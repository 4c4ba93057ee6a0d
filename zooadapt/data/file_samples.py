"""Samples in files, each of which is examined once."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from zooadapt.data import depth
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import changed_error, file_error, read_bytes
from zooadapt.data.tree import valid
from zooadapt.errors import DataError
from zooadapt.family.modality import Examined, Modality, View
from zooadapt.runtime.wording import counted

_LISTED = 5
_BLOCK = 1 << 20


class FileSamples:
    """Files below a root. A file that changes after `examine` is an error when it is read."""

    def __init__(
        self, root: Path, paths: Sequence[str], modality: Modality, options: ReadOptions
    ) -> None:
        self._root, self._paths = root, paths
        self._modality, self._options = modality, options
        self._contents: list[bytes] = []
        self._examined: list[Examined] = []
        self._stamps: dict[int, tuple[int, ...]] = {}
        self.white: int | None = None
        """The white value of 16-bit images; None where there are none."""
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return valid(self._paths[index])

    def raw(self, index: int, view: View) -> Any:
        with self._opened(index, whole=view.span is None) as file:
            return self._modality.decode(
                file,
                name=self.name(index),
                view=replace(view, white=self.white),
                limits=self._options.limits,
            )

    def window(self, index: int) -> None:
        return None

    def seconds(self, index: int) -> float:
        """The length of a recording."""
        return self._examined[index].seconds

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
        if self._modality.has_length:
            with self._stream(index) as file:
                self._stamps[index] = _stamp(file)
                digest = _sha256(file)
                file.seek(0)
                return digest, self._info(index, file)
        content = self._content(index)
        return hashlib.sha256(content).digest(), self._info(index, io.BytesIO(content))

    def _info(self, index: int, file: BinaryIO) -> Examined:
        return self._modality.examine(
            file,
            name=self.name(index),
            limits=self._options.limits,
            thoroughly=self._options.skip_bad,
        )

    @contextmanager
    def _opened(self, index: int, *, whole: bool) -> Iterator[BinaryIO]:
        """The file as it was examined, at its beginning. Of a part of a recording, which may be
        long, its state is compared and not its hash.

        Raises: DataError for a file that changed.
        """
        if whole:
            content = self._content(index)
            if hashlib.sha256(content).digest() != self._contents[index]:
                raise changed_error(self.name(index))
            yield io.BytesIO(content)
            return
        with self._stream(index) as file:
            if _stamp(file) != self._stamps[index]:
                raise changed_error(self.name(index))
            yield file

    @contextmanager
    def _stream(self, index: int) -> Iterator[BinaryIO]:
        """Raises: AccessError; DataError for a file that was removed; FileError."""
        try:
            file = open(self._root / self._paths[index], "rb")
        except OSError as error:
            raise file_error(error, self.name(index)) from error
        with file:
            yield file

    def _content(self, index: int) -> bytes:
        return read_bytes(self._root / self._paths[index], name=self.name(index))

    def _broken(self, bad: Sequence[int], first: DataError) -> DataError:
        if len(bad) == 1:
            return first
        more = ", ".join(self.name(k) for k in bad[1:_LISTED])
        return DataError(
            f"{first}; and {len(bad) - 1} more: {more}", thing=first.thing, remedy=first.remedy
        )


def _sha256(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.digest()


def _stamp(file: BinaryIO) -> tuple[int, ...]:
    """What changes with a file on disk."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # in memory
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
