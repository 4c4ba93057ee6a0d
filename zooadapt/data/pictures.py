"""Images in memory: examined, hashed and decoded like the files of a folder."""

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
        self._images = [_image(name, value) for name, value in zip(names, values, strict=True)]

    def raw(self, index: int, *, min_side: int | None, channels: int) -> Image:
        image = self._images[index]
        if isinstance(image, (bytes, Path)):
            return super().raw(index, min_side=min_side, channels=channels)
        return images.plain(image, channels=channels, white=self.white or depth.FULL)

    def _examine(self, index: int) -> tuple[bytes, images.ImageInfo]:
        image = self._images[index]
        if isinstance(image, Path):
            existing(str(image))
        if isinstance(image, (bytes, Path)):
            return super()._examine(index)
        digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
        if "transparency" in image.info or image.mode == "P":
            digest.update(image.convert("RGBA").tobytes())
        digest.update(image.tobytes())
        white = depth.white_of(image, None, b"") if image.mode.startswith("I") else 0
        return digest.digest(), images.ImageInfo(size=image.size, white=white)

    def _content(self, index: int) -> bytes:
        """The content of a file; for a picture, an empty one."""
        image = self._images[index]
        if isinstance(image, Path):
            return read_bytes(image, name=self.name(index))
        return image if isinstance(image, bytes) else b""


def _image(name: str, value: Any) -> Image | bytes | Path:
    """A picture, the content of a file, or its path."""
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
    """An array for Pillow: 8 bits a channel, or 16 in grey."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise DataError(
            f"'{name}' is an array of shape {array.shape}, and an image is (height, width) or "
            "(height, width, channels)",
            thing=name,
            remedy="array.transpose(1, 2, 0) puts the channels last"
            if channels_first
            else "give one array for each image",
        )
    if not array.size:
        raise DataError(f"'{name}' is an array of no pixels", thing=name, remedy="leave it out")
    if array.dtype == bool:
        return np.where(array, np.uint8(255), np.uint8(0))
    if array.dtype == np.uint8:
        return array
    least, most = float(array.min()), float(array.max())
    if np.issubdtype(array.dtype, np.floating):
        if least >= 0 and most <= 1:
            return np.asarray(np.rint(array * 255).astype(np.uint8))
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
