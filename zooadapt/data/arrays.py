"""Arrays as images."""

from __future__ import annotations

import numpy as np

from zooadapt.data import depth
from zooadapt.errors import DataError


def pixels(name: str, array: np.ndarray) -> np.ndarray:
    """An array for Pillow: 8 bits a channel, or 16 in grey.

    Raises: DataError for an array of another shape or with other values.
    """
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
