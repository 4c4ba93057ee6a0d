"""Samples in memory: examined, hashed and decoded like the files of a folder."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from zooadapt.data.dataset import digest_of
from zooadapt.data.file_samples import FileSamples
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import existing, file_error, read_bytes
from zooadapt.family.modality import Examined, Modality, View


class MemorySamples(FileSamples):
    """Samples as values that the modality accepts, the content of files, or paths."""

    def __init__(
        self,
        names: Sequence[str],
        values: Sequence[Any],
        modality: Modality,
        options: ReadOptions,
    ) -> None:
        super().__init__(Path(), names, modality, options)
        self._values = [
            _value(modality, name, value) for name, value in zip(names, values, strict=True)
        ]

    def raw(self, index: int, view: View) -> Any:
        value = self._values[index]
        if isinstance(value, (_Content, Path)):
            return super().raw(index, view)
        return self._modality.viewed(value, replace(view, white=self.white))

    def _examine(self, index: int) -> tuple[bytes, Examined]:
        value = self._values[index]
        if isinstance(value, Path):
            existing(str(value))
        if isinstance(value, (_Content, Path)):
            return super()._examine(index)
        return digest_of(self._modality, value), self._modality.examine_value(value)

    def _content(self, index: int) -> bytes:
        value = self._values[index]
        return (
            value.file if isinstance(value, _Content) else read_bytes(value, name=self.name(index))
        )

    @contextmanager
    def _stream(self, index: int) -> Iterator[BinaryIO]:
        value = self._values[index]
        if isinstance(value, _Content):
            yield io.BytesIO(value.file)
            return
        try:
            file = open(value, "rb")
        except OSError as error:
            raise file_error(error, self.name(index)) from error
        with file:
            yield file


class _Content:
    """The content of a file."""

    def __init__(self, file: bytes) -> None:
        self.file = file


def _value(modality: Modality, name: str, value: Any) -> Any:
    """A raw sample, the content of a file, or its path."""
    if isinstance(value, Mapping) and not modality.accepts(value):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _Content(bytes(value))
    return modality.of_value(value, name=name)
