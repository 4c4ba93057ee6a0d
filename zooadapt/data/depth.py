"""Pictures of more than eight bits a channel, and their conversion to eight.

A file of 16 bits may hold the values of a sensor of 10, 12 or 14 bits. A picture does not say which
value is white: the largest value in the whole data set decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from zooadapt.data import png
from zooadapt.runtime.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

FULL = 65535
"""The default of white."""
_SWAPPED = {";16B": ";16L", ";16L": ";16B"}


def is_wide(image: Image) -> bool:
    """Whether a picture, opened and not loaded, has 16 bits a channel, in grey or in colour."""
    return image.mode.startswith("I") or _is_wide_colour(image)


def low_bytes(image: Image, content: bytes) -> Image | None:
    """The lower eight bits of a 16-bit colour picture, opened and not loaded, of which Pillow
    decodes the upper ones; None for other pictures."""
    from PIL import Image as Images

    if not _is_wide_colour(image):
        return None
    rawmode = _rawmode(image)
    low = Images.open(BytesIO(content), formats=(image.format or "",))
    tile = low.tile[0]
    swapped = rawmode[:-4] + _SWAPPED[rawmode[-4:]]
    args = (swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped
    low.tile = [tile._replace(args=args)]
    return low


def white_of(image: Image, low: Image | None, content: bytes) -> int:
    """The smallest possible white of a wide picture: its largest value rounded up to all bits set,
    and at least the significant bits that a PNG declares; 0 for values beyond 16 bits."""
    values = _values(image, low)
    colours = values[..., :3] if values.ndim == 3 else values
    low_end, peak = int(colours.min(initial=0)), int(colours.max(initial=0))
    if low_end < 0 or peak > FULL:
        return 0
    return (1 << max(8, peak.bit_length(), min(16, png.significant_bits(content)))) - 1


def common_white(least: Sequence[int], known: int | None) -> tuple[int | None, tuple[str, ...]]:
    """The white of a whole data set, and a note on it; None where no picture is wide.

    least: `white_of` each picture, or 0; known: the white of a model, if there is one.
    """
    wide = [one for one in least if one]
    if not wide:
        return None, ()
    white = known or max(wide)
    notes = [
        f"{counted(len(wide), 'image')} of 16 bits a channel, in which {white} is read as white"
    ]
    above = sum(one > white for one in wide)
    if above:
        count = counted(above, "image has", "images have")
        notes.append(f"{count} values above {white}, which are read as white too")
    return white, tuple(notes)


def wide_digest(content: bytes, white: int | None) -> bytes:
    """The hash of a wide picture, by that of its file and by white."""
    return hashlib.sha256(b"%b white %d" % (content, white or FULL)).digest()


def eight_bits(image: Image, low: Image | None, white: int) -> Image:
    """A wide picture scaled so that `white` and values above it are 255. A picture of floats, or of
    values beyond 16 bits, is scaled by its own range."""
    import numpy as np
    from PIL import Image as Images

    values = _values(image, low).astype(np.float64)
    finite = values[np.isfinite(values)]
    lowest, highest = 0.0, float(white)
    if image.mode == "F" or finite.min(initial=0) < 0 or finite.max(initial=0) > FULL:
        lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    span = max(highest - lowest, 1e-12)
    filled = np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest)
    scaled = (filled - lowest) / span * 255
    return Images.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _values(image: Image, low: Image | None) -> np.ndarray:
    """`(H, W)`, or `(H, W, C)` in colour."""
    import numpy as np

    values = np.asarray(image)
    return values if low is None else values.astype(np.uint16) << 8 | np.asarray(low)


def _is_wide_colour(image: Image) -> bool:
    rawmode = _rawmode(image)
    plain = image.mode in ("RGB", "RGBA") and len(getattr(image, "tile", ())) == 1
    return plain and rawmode[:-4] == image.mode and rawmode[-4:] in _SWAPPED


def _rawmode(image: Image) -> str:
    """Pillow's name for the layout of a file's pixels."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first.replace(";16N", ";16L") if isinstance(first, str) else ""
