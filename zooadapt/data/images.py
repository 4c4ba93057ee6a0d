"""Image files to pixels, under limits: what is decoded is all there, upright and in the mode asked
for, or it is an error."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zooadapt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "MPO")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm",
                      ".pgm", ".pbm", ".mpo"})  # fmt: skip

_END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 4096


def decode(
    file: Path | BinaryIO, *, name: str, min_side: int | None, channels: int, max_pixels: int
) -> Image:
    """The first frame of an image file, upright (EXIF), in mode `RGB` or, for one channel, `L`.

    Only `FORMATS` are tried, whatever the file's name says. 16-bit images are scaled, not clipped;
    transparency is laid on white. A JPEG is decoded at the smallest scale whose shorter side is
    still at least `min_side` pixels. Raises: DataError for what is no image, is cut off, or has
    more than `max_pixels` pixels.
    """
    from PIL import Image, ImageOps

    with _one_line(name), Image.open(file, formats=FORMATS) as image:
        _limit(name, image.size, max_pixels)
        if min_side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, _smallest(image.size, min_side))
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception:  # broken metadata of a readable picture is metadata, and is ignored
            upright = image
        return _to_mode(upright, "L" if channels == 1 else "RGB")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an image file shows before it is used."""

    error: DataError | None = None
    size: tuple[int, int] = (0, 0)
    animated: bool = False


def examine(content: bytes, *, name: str, max_pixels: int, thoroughly: bool) -> Look:
    """Check an image file's header and, where its end-of-image mark is missing or `thoroughly`
    asks for it, that all of it decodes."""
    from PIL import Image

    if not content:
        return Look(error=_bad(name, "is empty"))
    try:
        with _one_line(name), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _limit(name, image.size, max_pixels)
            complete = _END.get(image.format or "", b"") in content[-_TAIL:]
            if thoroughly or not complete:
                image.load()
            return Look(size=image.size, animated=getattr(image, "is_animated", False))
    except DataError as error:
        return Look(error=error)


def _limit(name: str, size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise DataError(
            f"image '{name}' has {size[0]} x {size[1]} pixels, the limit is {max_pixels:,}",
            thing=name,
            remedy="shrink it or raise --max-pixels",
        )


def _smallest(size: tuple[int, int], min_side: int) -> tuple[int, int]:
    """The size to ask of the JPEG decoder, which rounds up to a scale it knows."""
    scale = min(1.0, min_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _to_mode(image: Image, mode: str) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Images.new("RGBA", image.size, (255, 255, 255, 255))
        image = Images.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image) -> Image:
    """Wider integers and floats scaled to 0..255: 16 bits by their range, others by their own."""
    import numpy as np
    from PIL import Image as Images

    values = np.asarray(image, dtype=np.float64)
    low, high = 0.0, 65535.0
    if image.mode == "F" or values.min(initial=0) < low or values.max(initial=0) > high:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scaled = (np.nan_to_num(values) - low) / max(high - low, 1e-12) * 255
    return Images.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8), "L")


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever the decoder does with a broken file, as one DataError naming the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise _bad(name, "is no image in a known format") from error
    except Image.DecompressionBombError as error:
        raise _bad(name, "has too many pixels") from error
    except (PermissionError, FileNotFoundError):
        raise
    except (OSError, ValueError, SyntaxError, EOFError, ZeroDivisionError, OverflowError) as error:
        raise _bad(name, f"is broken or cut off ({error})") from error


def _bad(name: str, what: str) -> DataError:
    return DataError(
        f"image '{name}' {what}",
        thing=name,
        remedy="remove it, or --skip-bad to leave such files out",
    )
