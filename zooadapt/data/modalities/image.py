"""Images: files of the usual formats, pictures of Pillow, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from zooadapt.data import depth, images
from zooadapt.errors import DataError
from zooadapt.family.modality import Examined, Limits, Modality, View

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture


class Image(Modality):
    """A `PIL.Image.Image`, upright, in mode `RGB`, or in `L` for one channel."""

    api = 1
    name = "image"
    noun, plural = "image", "images"
    pipeline_tag = "image-classification"
    example = "zooadapt predict {model} photo.jpg"
    suffixes = images.SUFFIXES
    formats = "JPEG or PNG"
    sniffed = images.SNIFFED
    column = "image_column"
    columns = frozenset({
        "image", "images", "image path", "image file", "image name", "image id", "img", "img path",
        "file", "file name", "file path", "filename", "filepath", "path", "photo", "picture",
    })  # fmt: skip
    feature = "Image"
    has_size = True
    augmentations = ("crop", "flip", "rand")
    why_augmented = (
        "cropped anew in every epoch; mirroring is left to --augment flip, since letters and signs "
        "do not survive it"
    )
    near = 0.9
    # Measured on flowers5 and trashnet6 with two networks: of 1,408 photos different ones have at
    # most 0.87, three pairs that show one thing from one place 0.91 and more; of 300 photos
    # recompressed or resized, all are found at JPEG quality 90 or 95 % of the size, 0.94 to 0.97 at
    # quality 75, 0.96 to 0.98 at 80 % of the size.

    def decode(self, file: BinaryIO, *, name: str, view: View, limits: Limits) -> Picture:
        return images.decode(
            file.read(),
            name=name,
            min_side=view.min_side,
            channels=view.channels,
            max_pixels=limits.pixels,
            white=view.white or depth.FULL,
        )

    def pieces(self, raw: Picture) -> Iterable[bytes]:
        yield f"{raw.mode} {raw.width} {raw.height} ".encode()
        if "transparency" in raw.info or raw.mode == "P":
            yield raw.convert("RGBA").tobytes()
        yield raw.tobytes()

    def synthesise(self, rng: np.random.Generator, *, view: View) -> Picture:
        import numpy as np
        from PIL import Image as Images

        shape = (9, 9) if view.channels == 1 else (9, 9, 3)
        grid = rng.integers(0, 256, shape, dtype=np.uint8)
        width, height = rng.integers(40, 160, 2)
        return Images.fromarray(grid).resize((int(width), int(height)), Images.Resampling.BICUBIC)

    def extremes(self, *, view: View) -> Sequence[Picture]:
        from PIL import Image as Images

        mode = images.MODES[view.channels]
        return [Images.new(mode, size, 200) for size in ((1, 1), (300, 2), (2, 300))]

    def begins(self, head: bytes) -> bool:
        return images.begins_image(head)

    def examine(self, file: BinaryIO, *, name: str, limits: Limits, thoroughly: bool) -> Examined:
        return images.examine(
            file.read(), name=name, max_pixels=limits.pixels, thoroughly=thoroughly
        )

    def accepts(self, value: Any) -> bool:
        return hasattr(value, "getbands") or hasattr(value, "__array__")

    def is_single(self, value: Any) -> bool:
        is_array = len(getattr(value, "shape", ())) in (2, 3) and not hasattr(value, "columns")
        return hasattr(value, "getbands") or is_array

    def of_value(self, value: Any, *, name: str) -> Picture:
        if hasattr(value, "getbands"):
            return images.upright(value, name=name)
        if hasattr(value, "__array__"):
            import numpy as np
            from PIL import Image as Images

            from zooadapt.data.arrays import pixels

            return images.upright(Images.fromarray(pixels(name, np.asarray(value))), name=name)
        raise DataError(
            f"'{name}' is of type '{type(value).__name__}' and no image",
            thing=name,
            remedy="give pictures of Pillow, arrays, paths, or the content of image files",
        )

    def examine_value(self, raw: Picture) -> Examined:
        white = depth.white_of(raw, None, b"") if raw.mode.startswith("I") else 0
        return images.examined(raw.size, white=white)

    def viewed(self, raw: Picture, view: View) -> Picture:
        return images.plain(raw, channels=view.channels, white=view.white or depth.FULL)

    def memory(self, raw: Picture) -> int:
        return raw.width * raw.height * len(raw.getbands())


MODALITY = Image()
