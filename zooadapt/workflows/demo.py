"""The demo's data: scikit-learn's handwritten digits as folders of images, a source task and a
target task that share nothing but being digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zooadapt.errors import UsageError
from zooadapt.runtime import filesystem

SOURCE = "digits04"
"""The bundled source, trained from scratch on the digits 0 to 4."""
LABELS = 10
"""Labelled images a class in the target task."""


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Write `source/` (digits 0 to 4) and `target/` (5 to 9, ten training images a class and the
    rest for the test) below a folder, as 8 x 8 greyscale PNG files; always the same files.

    Raises: UsageError without scikit-learn, which holds the images; OutputError when the folder
    cannot be written to, FileError when writing fails.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "the demo's images come with scikit-learn, which is not installed",
            thing="scikit-learn",
            remedy="pip install scikit-learn",
        ) from error
    from PIL import Image

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    seen: dict[int, int] = {}
    for number, (image, label) in enumerate(zip(pixels, digits.target.tolist(), strict=True)):
        seen[label] = seen.get(label, 0) + 1
        if label < 5:
            part = Path("source", "test" if seen[label] % 5 == 0 else "train")
        else:
            part = Path("target", "train" if seen[label] <= LABELS else "test")
        place = folder / part / str(label)
        with filesystem.writing(folder):
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image, "L").save(place / f"{number:04d}.png")
    return folder / "source", folder / "target"


def examples(folder: Path) -> list[Path]:
    """One test image of each class of a folder that `write_digits` wrote, in the order of names."""
    return [min(place.iterdir()) for place in sorted((folder / "test").iterdir())]


def drawn(images: Sequence[Path], *, blocks: bool) -> list[str]:
    """Lines of text that show images of 8 x 8 pixels side by side: two pixels are one character
    below the other where the terminal has half `blocks`, else each pixel is two characters."""
    from PIL import Image

    pixels = [np.asarray(Image.open(path)) > 96 for path in images]
    if not blocks:
        return ["  ".join("".join(" #"[int(on)] * 2 for on in image[y]) for image in pixels)
                for y in range(8)]  # fmt: skip
    halves = (" ▄", "▀█")
    return [
        "  ".join(
            "".join(halves[int(image[y, x])][int(image[y + 1, x])] for x in range(8))
            for image in pixels
        )
        for y in range(0, 8, 2)
    ]
