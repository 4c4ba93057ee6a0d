"""The demo's data: scikit-learn's handwritten digits as folders of images, a source task and a
target task that share nothing but being digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zooadapt import fsops
from zooadapt.errors import UsageError

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
        with fsops.writing(folder):
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image, "L").save(place / f"{number:04d}.png")
    return folder / "source", folder / "target"
