"""Images to pixels, by transformers' own image processors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from zooadapt.errors import DataError
from zooadapt.family import Carry, Sample
from zooadapt_transformers import settings

PREPROCESSOR = "preprocessor_config.json"

_PROCESSORS = ("ViTImageProcessor", "DeiTImageProcessor", "BitImageProcessor")
_PROCESSORS += ("ConvNextImageProcessor",)
_LARGEST_SIDE = 4096
_FLAGS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
_NUMBERS = ("resample", "rescale_factor", "crop_pct")
_SIZES = ("size", "crop_size")
_CHANNELS = ("image_mean", "image_std")


class ImagePreprocessor:
    """Pixels of an image, `pixel_values` `(C, H, W)`, resized, cropped and normalised as the
    source's own processor does it.

    Varied views are a random part of the image (area 35 to 100 %) at the same size, mirrored half
    of the time with `flip` and `rand`.
    """

    def __init__(self, config: Mapping[str, Any], *, augment: str = "none") -> None:
        """Raises: DataError when the processor's file is missing, not usable or does not give the
        size of image that the network takes."""
        self._kind, self._options = _options(config)
        self._processor = getattr(transformers, self._kind)(**self._options)
        self._augment = augment
        network = settings.parse(config, 2)
        blank = Image.new("RGB" if network.num_channels == 3 else "L", (64, 48))
        self._shape = tuple(self(blank, rng=None)["pixel_values"].shape)
        if settings.recipe(config).fixed_size:
            _check_size(self._shape, network.image_size)
        self.min_side = 2 * max(self._shape[1:])

    def __call__(self, raw: Image.Image, *, rng: np.random.Generator | None) -> Sample:
        if rng is not None and self._augment != "none":
            raw = _view(raw, rng, mirrored=self._augment != "crop")
        done = self._processor(raw, return_tensors="pt")
        return {"pixel_values": done["pixel_values"][0]}

    def collate(self, samples: Sequence[Sample]) -> Carry:
        """`pixel_values`, `(N, C, H, W)`."""
        return {"pixel_values": torch.stack([sample["pixel_values"] for sample in samples])}

    def config(self) -> dict[str, Any]:
        return {
            "image_processor_type": self._kind,
            **self._options,
            "input_size": list(self._shape),
        }


def files(config: Mapping[str, Any]) -> dict[str, str]:
    """The image processor as an export writes it."""
    kind, options = _options(config)
    kept = {"image_processor_type": kind, **options}
    return {PREPROCESSOR: json.dumps(kept, indent=2, sort_keys=True) + "\n"}


def _options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The processor's class and its options: known keys with plain values alone."""
    given = settings.json_file(config, PREPROCESSOR)
    named = (
        given.get("image_processor_type")
        or given.get("feature_extractor_type")
        or settings.recipe(config).processor
    )
    kind = str(named).removesuffix("Fast").removesuffix("Pil")
    kind = kind.replace("FeatureExtractor", "ImageProcessor")
    if kind not in _PROCESSORS:
        wanted = f"one of {', '.join(_PROCESSORS)}"
        raise settings.bad("image_processor_type", named, wanted, file=PREPROCESSOR)
    options: dict[str, Any] = {}
    for keys, check in ((_FLAGS, _flag), (_NUMBERS, _number), (_SIZES, _size), (_CHANNELS, _list)):
        for key in keys:
            if given.get(key) is not None:
                options[key] = check(key, given[key])
    return kind, options


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise settings.bad(key, value, "true or false", file=PREPROCESSOR)
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 10:
        raise settings.bad(key, value, "a number from 0 to 10", file=PREPROCESSOR)
    return value


def _list(key: str, value: Any) -> list[float]:
    plain = isinstance(value, list) and 1 <= len(value) <= 16
    if not plain or not all(isinstance(part, (int, float)) for part in value):
        raise settings.bad(key, value, "a number for each channel", file=PREPROCESSOR)
    return value


def _size(key: str, value: Any) -> int | dict[str, int]:
    sides = value.values() if isinstance(value, Mapping) else [value]
    for side in sides:
        if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
            wanted = f"pixels from 1 to {_LARGEST_SIDE}"
            raise settings.bad(key, value, wanted, file=PREPROCESSOR)
    return value


def _check_size(shape: tuple[int, ...], wanted: Any) -> None:
    height, width = wanted if isinstance(wanted, (list, tuple)) else (wanted, wanted)
    if shape[1:] != (height, width):
        raise DataError(
            f"{PREPROCESSOR} gives images of {shape[1]} x {shape[2]}, the network takes "
            f"{height} x {width}",
            thing="size",
            remedy=f"set 'size' in the source's {PREPROCESSOR}",
        )


def _view(image: Image.Image, rng: np.random.Generator, *, mirrored: bool) -> Image.Image:
    """A random part of the image, as random-resized-crop draws it (Szegedy et al., CVPR 2015)."""
    area = rng.uniform(0.35, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(image.width, max(1, round(image.width * np.sqrt(area * ratio))))
    height = min(image.height, max(1, round(image.height * np.sqrt(area / ratio))))
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    part = image.crop((left, top, left + width, top + height))
    flip = mirrored and rng.random() < 0.5
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part
