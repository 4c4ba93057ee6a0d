"""Images that a program holds: examined, hashed and decoded as the files of a folder are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.data import depth, images
from zooadapt.data.folders import FileSamples
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import existing, read_bytes
from zooadapt.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


class Pictures(FileSamples):
    """Images as pictures, arrays, the content of files, or paths."""

    def __init__(self, names: Sequence[str], values: Sequence[Any], options: ReadOptions) -> None:
        super().__init__(Path(), names, options)
        self._held = [_held(name, value) for name, value in zip(names, values, strict=True)]

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Image:
        held = self._held[index]
        if isinstance(held, (bytes, Path)):
            return super().raw(index, min_side=min_side, channels=channels)
        return images.plain(held, channels=channels, white=self.white or depth.FULL)

    def _examine(self, index: int) -> tuple[bytes, images.Look]:
        held = self._held[index]
        if isinstance(held, Path):
            existing(str(held))
        if isinstance(held, (bytes, Path)):
            return super()._examine(index)
        digest = hashlib.sha256(f"{held.mode} {held.width} {held.height} ".encode())
        if "transparency" in held.info or held.mode == "P":
            digest.update(held.convert("RGBA").tobytes())
        digest.update(held.tobytes())
        white = depth.white_of(held, None, b"") if held.mode.startswith("I") else 0
        return digest.digest(), images.Look(size=held.size, white=white)

    def _content(self, index: int) -> bytes:
        held = self._held[index]
        if isinstance(held, bytes):
            return held
        return read_bytes(held, name=self.name(index))


def _held(name: str, value: Any) -> Image | bytes | Path:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if hasattr(value, "getbands"):
        return images.upright(value, name=name)
    if hasattr(value, "__array__"):
        from PIL import Image

        return images.upright(Image.fromarray(_pixels(name, np.asarray(value))), name=name)
    raise DataError(
        f"'{name}' is of type '{type(value).__name__}' and no image",
        thing=name,
        remedy="give pictures of Pillow, arrays, paths, or the content of image files",
    )


def _pixels(name: str, array: np.ndarray) -> np.ndarray:
    """An array as Pillow takes it: 8 bits a channel, or 16 in grey."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise DataError(
            f"'{name}' is an array of shape {array.shape}, and an image is (height, width) or "
            "(height, width, channels)",
            thing=name,
            remedy="array.transpose(1, 2, 0) puts the channels last"
            if first
            else "give one array for each image",
        )
    if not array.size:
        raise DataError(f"'{name}' is an array of no pixels", thing=name, remedy="leave it out")
    if array.dtype == bool or array.dtype == np.uint8:
        return array if array.dtype == np.uint8 else array * np.uint8(255)
    least, most = float(array.min()), float(array.max())
    if np.issubdtype(array.dtype, np.floating):
        if 0 <= least and most <= 1:
            return np.rint(array * 255).astype(np.uint8)
        limit = "0 to 1 in arrays of floats"
    else:
        if array.ndim == 2 and least >= 0 and most <= depth.FULL:
            wide = array.dtype == np.uint16 or most > 255
            return array.astype(np.uint16 if wide else np.uint8)
        if least >= 0 and most <= 255:
            return array.astype(np.uint8)
        limit = "0 to 255 in arrays of whole numbers, to 65535 in grey"
    raise DataError(
        f"'{name}' is an array with values from {least:g} to {most:g}; they go from {limit}",
        thing=name,
        remedy="scale it",
    )
