"""Small data sets, and the check of a refusal."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.data import ReadOptions, open_dataset
from zooadapt.errors import ZooadaptError


def photo(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """An RGB picture unique to its seed, smooth enough for JPEG."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8), "RGB")
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The content of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_folder(root: Path, counts: Mapping[str, int] | None = None, *, first: int = 0) -> Path:
    """Class folders of small JPEG files, `0.jpg` and so on; no two pictures are the same."""
    for label, count in (counts or {"ant": 3, "bee": 3}).items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            first += 1
            (root / label / f"{number}.jpg").write_bytes(encoded(photo(first), "JPEG"))
    return root


def csv_file(path: Path, *rows: str, header: str = "text,label") -> Path:
    """A CSV file whose first rows are good, followed by these."""
    path.write_text("\n".join([header, "one,a", "two,a", "three,b", "four,b", *rows]) + "\n")
    return path


def listing(root: Path) -> set[str]:
    """Everything below a folder, by path."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def refused(location: Path | str, code: int, message: str, **options: Any) -> ZooadaptError:
    """Check that a data set is refused with this code, in one line that matches and has a thing and
    a remedy, and that nothing is written. Folders are images by default."""
    path = Path(location)
    modality = "image" if path.is_dir() else "text"
    modality = options.pop("modality", modality)
    before = listing(path.parent)
    with pytest.raises(ZooadaptError) as caught:
        open_dataset(str(location), modality=modality, options=ReadOptions(**options))
    error = caught.value
    assert error.code == code, f"{type(error).__name__}: {error}"
    assert re.search(message, str(error)), str(error)
    assert "\n" not in str(error) and len(str(error)) < 1000
    assert error.thing and error.remedy
    assert listing(path.parent) == before
    return error


def opened(location: Path | str, *, modality: str = "image", **options: Any) -> Any:
    """The data set, opened with these reading options."""
    return open_dataset(str(location), modality=modality, options=ReadOptions(**options))
