"""Random raw samples: a function of modality, number and seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def synthesise(modality: str, n: int, seed: int = 0, *, channels: int = 3) -> list[Any]:
    """`n` raw samples as the data layer gives them: `PIL.Image.Image` of several sizes, in mode `L`
    for one channel and `RGB` otherwise, or `str` of several lengths. Equal arguments give equal
    samples."""
    rng = np.random.default_rng((seed, 0x5A))
    make = _MAKERS[modality]
    return [make(rng, channels) for _ in range(n)]


def extremes(modality: str, *, channels: int = 3) -> list[Any]:
    """Extreme samples: a single pixel, a sliver; an empty text, other scripts, a very long text."""
    if modality == "text":
        return ["", " \t\n", "é£ 你好 \U0001f600", "\ud800", "x", "long " * 2000]
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    return [Image.new(mode, size, 200) for size in ((1, 1), (300, 2), (2, 300))]


def _image(rng: np.random.Generator, channels: int) -> Image:
    from PIL import Image

    grid = rng.integers(0, 256, (9, 9) if channels == 1 else (9, 9, 3), dtype=np.uint8)
    width, height = rng.integers(40, 160, 2)
    size = (int(width), int(height))
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def _text(rng: np.random.Generator, channels: int) -> str:
    words = ("".join(rng.choice(list(_LETTERS), rng.integers(1, 9))) for _ in range(20))
    return " ".join(words)[: int(rng.integers(3, 70))]


_MAKERS: dict[str, Callable[[np.random.Generator, int], Any]] = {"image": _image, "text": _text}
