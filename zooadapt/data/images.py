"""Image files to pixels, under limits: a decoded image is whole, upright and in one of `MODES`."""

from __future__ import annotations

import importlib
import io
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from zooadapt.data import depth, png
from zooadapt.errors import DataError
from zooadapt.family.modality import Examined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.Image import Image

_Result = TypeVar("_Result")
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
"""As Pillow registers them; its JPEG reader reads MPO files, those of two-lens cameras, too."""
_READERS = ("Jpeg", "Png", "WebP", "Avif", "Bmp", "Gif", "Tiff", "Ppm", "Mpo")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".webp", ".avif",
                      ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".mpo"})  # fmt: skip
SNIFFED = 12
"""Bytes that `begins_image` reads."""

MODES = {1: "L", 3: "RGB"}
"""The mode of decoded images by their number of channels; other numbers are invalid."""

_JPEG_END = b"\xff\xd9"
_PADDING = b"\0\t\n\r "
_TINY = 8


def begins_image(head: bytes) -> bool:
    """Whether a file is an image, by its first `SNIFFED` bytes. TIFF is not recognised: raw files
    of cameras begin alike, and contain a thumbnail first."""
    return (
        head.startswith((b"\xff\xd8\xff", png.SIGNATURE, b"GIF87a", b"GIF89a"))
        or (head[:4] == b"RIFF" and head[8:] == b"WEBP")
        or head[4:] in (b"ftypavif", b"ftypavis")
    )  # fmt: skip


def decode(
    content: bytes,
    *,
    name: str,
    min_side: int | None,
    channels: int,
    max_pixels: int,
    white: int = depth.FULL,
) -> Image:
    """The first frame of an image file, upright (EXIF), in the mode of that many `channels`.

    Only `FORMATS` are tried, whatever the file's suffix. 16-bit images are scaled by `white`;
    transparency becomes white. A JPEG is decoded at the smallest scale whose shorter side is still
    at least `min_side` pixels. Raises: DataError for a file that is no image, is cut off, or has
    more than `max_pixels` pixels.
    """

    def read(content: bytes) -> Image:
        return _decode(content, name, min_side, channels, max_pixels, white)

    return _despite_metadata(read, content)


def _decode(
    content: bytes,
    name: str,
    min_side: int | None,
    channels: int,
    max_pixels: int,
    white: int,
) -> Image:
    with _opened(content, name, max_pixels) as image:
        if min_side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, _smallest(image.size, min_side))
        low = depth.low_bytes(image, content)
        image.load()
        return _plain(_upright(image), low and _upright(low), channels, white)


def plain(image: Image, *, channels: int, white: int = depth.FULL) -> Image:
    """A picture in memory, upright already, converted as by `decode`."""
    return _plain(image, None, channels, white)


def _plain(upright: Image, low: Image | None, channels: int, white: int) -> Image:
    if upright.mode.startswith("I") or upright.mode == "F" or low is not None:
        upright = depth.eight_bits(upright, low, white)
    return _to_mode(upright, MODES[channels])


def upright(image: Image, *, name: str) -> Image:
    """A copy of a picture in memory, upright by its metadata, its pixels loaded.

    Raises: DataError for a broken or missing file.
    """
    _load_pillow()
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly everything at hostile bytes
        raise _bad(name, f"is broken or cut off ({error})") from error
    return _upright(image)


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # broken metadata of a readable picture is ignored
        return image


def examined(size: tuple[int, int], *, frames: bool = False, white: int = 0) -> Examined:
    """The properties of an image, with remarks on a tiny one and on one of several frames."""
    remarks = []
    if min(size) < _TINY:
        remarks.append(f"with a side below {_TINY} pixels")
    if frames:
        remarks.append("of several frames, of which only the first is used")
    return Examined(size=size, white=white, remarks=tuple(remarks))


def examine(content: bytes, *, name: str, max_pixels: int, thoroughly: bool) -> Examined:
    """Check an image file by the cheapest means of its format: the end mark of a JPEG, the
    checksums of a PNG, opening a WebP; else, or if `thoroughly`, by decoding it."""

    def read(content: bytes) -> Examined:
        with _opened(content, name, max_pixels) as image:
            info = examined(
                image.size,
                frames=getattr(image, "is_animated", False),
                white=_white(content, name, max_pixels) if depth.is_wide(image) else 0,
            )
            if image.format == "PNG" and not thoroughly:
                image.verify()
            elif thoroughly or not _ends(image.format, content):
                image.load()
        return info

    try:
        return _despite_metadata(read, content)
    except DataError as error:
        return Examined(error=error)


def _white(content: bytes, name: str, max_pixels: int) -> int:
    with _opened(content, name, max_pixels) as image:
        low = depth.low_bytes(image, content)
        return depth.white_of(image, low, content)


def _despite_metadata(read: Callable[[bytes], _Result], content: bytes) -> _Result:
    """The result of `read` for an image file, or, if it raises, for the file without metadata."""
    try:
        return read(content)
    except DataError:
        bare = png.without_metadata(content)
        if bare is None:
            raise
        return read(bare)


def _ends(kind: str | None, content: bytes) -> bool:
    """Whether a file is known to be whole. A WebP that is cut off cannot be opened."""
    marked = kind in ("JPEG", "MPO") and content.rstrip(_PADDING).endswith(_JPEG_END)
    return marked or kind == "WEBP"


@contextmanager
def _opened(content: bytes, name: str, max_pixels: int) -> Iterator[Image]:
    """The image, its header read. Every error of the decoder, here or in the block, becomes a
    DataError naming the file."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise _bad(name, "is empty")
    _load_pillow()
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(name, f"{image.width} x {image.height}", max_pixels)
            yield image
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _bad(name, "is no image in a known format") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many", max_pixels) from error
    except Exception as error:  # decoders raise nearly everything at hostile bytes
        raise _bad(name, f"is broken or cut off ({error})") from error


_loading = threading.Lock()
_loaded = threading.Event()


def _load_pillow() -> None:
    """Load the readers of `FORMATS` and no others, once and before any thread needs them: Pillow
    loads them with the first image, and simultaneous threads can find them missing."""
    if _loaded.is_set():
        return
    with _loading:
        for reader in _READERS:
            importlib.import_module(f"PIL.{reader}ImagePlugin")
        # Sizes are checked above; Pillow's other warnings are about metadata. The filter stays:
        # removing it is not safe while other threads decode.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        _loaded.set()


def _too_large(name: str, pixels: str, limit: int) -> DataError:
    return DataError(
        f"image '{name}' has {pixels} pixels, the limit is {limit:,}",
        thing=name,
        remedy="shrink it or raise --max-pixels",
    )


def _bad(name: str, what: str) -> DataError:
    return DataError(
        f"image '{name}' {what}",
        thing=name,
        remedy="remove it, or --skip-bad to leave such files out",
    )


def _smallest(size: tuple[int, int], min_side: int) -> tuple[int, int]:
    """The size for the JPEG decoder, which rounds it up to one of its scales."""
    scale = min(1.0, min_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _to_mode(image: Image, mode: str) -> Image:
    from PIL import Image as Images

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Images.new("RGBA", image.size, (255, 255, 255, 255))
        image = Images.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)
