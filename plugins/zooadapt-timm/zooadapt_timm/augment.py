"""Augmentations of a photo, functions of a random generator alone and so safe in any thread."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_Operation = Callable[[Image.Image, float], Image.Image]
"""An image and a strength from -1 to 1 to an image."""
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10


def random_box(
    size: tuple[int, int], rng: np.random.Generator, *, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """`(left, top, width, height)` of a box of `scale` of the area of an image of `size` (W, H),
    with an aspect ratio from 3:4 to 4:3 (Szegedy et al., CVPR 2015), drawn as in timm; if none of
    ten fits, the largest central one."""
    wide, high = size
    for _ in range(_TRIES):
        area = rng.uniform(*scale) * wide * high
        aspect = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 1 <= width <= wide and 1 <= height <= high:
            return (int(rng.integers(wide - width + 1)), int(rng.integers(high - height + 1)),
                    width, height)  # fmt: skip
    width, height = min(wide, round(high * _RATIO[1])), min(high, round(wide / _RATIO[0]))
    return (wide - width) // 2, (high - height) // 2, width, height


def vary(image: Image.Image, rng: np.random.Generator, augment: str) -> Image.Image:
    """Mirror at random for `"flip"` and `"rand"`; for `"rand"` also apply one operation at one
    strength, both uniform (TrivialAugment, Müller & Hutter, ICCV 2021)."""
    if augment in ("flip", "rand") and rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if augment == "rand":
        operation = _OPERATIONS[rng.integers(len(_OPERATIONS))]
        image = operation(image, float(rng.uniform(-1, 1)))
    return image


def _tones(operation: _Operation) -> _Operation:
    """An operation on the colours, which leaves transparency as it is."""

    def apply(image: Image.Image, strength: float) -> Image.Image:
        if image.mode not in ("LA", "RGBA"):
            return operation(image, strength)
        changed = operation(image.convert(image.mode[:-1]), strength)
        changed.putalpha(image.getchannel("A"))
        return changed

    return apply


def _enhance(
    kind: type[ImageEnhance.Brightness]
    | type[ImageEnhance.Contrast]
    | type[ImageEnhance.Color]
    | type[ImageEnhance.Sharpness],
) -> _Operation:
    return lambda image, strength: kind(image).enhance(1 + 0.9 * strength)


def _affine(
    image: Image.Image, x: tuple[float, float, float], y: tuple[float, float, float]
) -> Image.Image:
    """Take each pixel (u, v), relative to the centre, from (x·(u, v, 1), y·(u, v, 1))."""
    u, v = image.width / 2, image.height / 2
    shift_x = u - x[0] * u - x[1] * v + x[2]
    shift_y = v - y[0] * u - y[1] * v + y[2]
    return image.transform(
        image.size, Image.Transform.AFFINE, (x[0], x[1], shift_x, y[0], y[1], shift_y),
        resample=Image.Resampling.BILINEAR,
    )  # fmt: skip


_OPERATIONS: tuple[_Operation, ...] = (
    lambda image, strength: image,
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Sharpness),
    _tones(lambda image, strength: ImageOps.autocontrast(image)),
    _tones(lambda image, strength: ImageOps.equalize(image)),
    _tones(lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength)))),
    _tones(lambda image, strength: ImageOps.solarize(image, round(255 * (1 - abs(strength))))),
    lambda image, strength: image.rotate(30 * strength, Image.Resampling.BILINEAR),
    lambda image, strength: _affine(image, (1, 0.3 * strength, 0), (0, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, 0), (0.3 * strength, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, 0.15 * strength * image.width), (0, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, 0), (0, 1, 0.15 * strength * image.height)),
)
