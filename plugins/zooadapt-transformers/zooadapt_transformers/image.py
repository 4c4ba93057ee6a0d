"""Images to pixels, by transformers' own image processors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from zooadapt.errors import DataError, UsageError
from zooadapt.family import FILES, Activations, Sample, config_keys
from zooadapt.family.config_keys import FLAG, Kind, listed, number, whole
from zooadapt.family.portable import Pixels
from zooadapt_transformers import settings

PREPROCESSOR = "preprocessor_config.json"

_CONVNEXT = "ConvNextImageProcessor"
_PROCESSORS = ("ViTImageProcessor", "DeiTImageProcessor", "BitImageProcessor", _CONVNEXT)
_WARPED = 384
"""ConvNeXT's processor squeezes images from this shortest edge on."""
_FLAGS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
_SCALES = ("resample", "rescale_factor")
_CHANNELS = ("image_mean", "image_std")
_KERNELS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the kernels that torch antialiases."""
_SIDE = whole(1, 4096)
_SIDES: Kind[Mapping[str, int]] = Kind(
    lambda value: isinstance(value, Mapping) and all(map(_SIDE.accepts, value.values())),
    "an object of such numbers",
)
_OPTIONS: dict[str, Kind[Any]] = {
    **dict.fromkeys(_FLAGS, FLAG),
    **dict.fromkeys((*_SCALES, "crop_pct"), number(0, 10)),
    **dict.fromkeys(("size", "crop_size"), _SIDE | _SIDES),
    **dict.fromkeys(_CHANNELS, listed(number(-1000, 1000), 1, 16)),
}


class ImagePreprocessor:
    """Pixels of an image, `pixel_values` `(C, H, W)`, resized, cropped and normalised as the
    source's own processor does it.

    Augmentations are a random crop of the image (area 35 to 100 %) at the same size, mirrored half
    of the time with `flip` and `rand`.
    """

    def __init__(self, config: Mapping[str, Any], *, augment: str = "none") -> None:
        """Raises: DataError when the processor's file is missing or unusable, or gives images of
        another size than the network's."""
        self._kind, self._options = _options(config)
        self._processor = getattr(transformers, self._kind)(**self._options)
        self._augment = augment
        self._squashes = _squashes(self._kind, self._processor)
        network = settings.parse(config, 2)
        blank = Image.new("RGB" if network.num_channels == 3 else "L", (64, 48))
        self._shape = tuple(self(blank, rng=None)["pixel_values"].shape)
        if settings.recipe(config).fixed_size:
            _check_size(self._shape, network.image_size)
        self.min_side: int | None = 2 * max(self._shape[1:])

    def __call__(self, raw: Image.Image, *, rng: np.random.Generator | None) -> Sample:
        if rng is not None and self._augment != "none":
            mirrors = self._augment != "crop"
            raw = _random_crop(raw, rng, mirrors=mirrors, squashes=self._squashes)
        return {"pixel_values": self._processor(raw, return_tensors="pt")["pixel_values"][0]}

    def portable(self) -> Pixels | None:
        """The eval transform as data. None for a kernel that torch does not antialias, and for
        images that are not resized."""
        processor, (channels, high, wide) = self._processor, self._shape
        kernel = _KERNELS.get(int(processor.resample or 0))
        if kernel is None or not processor.do_resize:
            return None
        size, rule = (processor.size.height, processor.size.width), "exact"
        if not self._squashes:
            share = processor.crop_pct if self._kind == _CONVNEXT else 1.0
            size, rule = (int(processor.size.shortest_edge / share),) * 2, "shorter"
        elif not all(size):
            size = (processor.size.shortest_edge,) * 2
        normalises = processor.do_normalize
        return Pixels(
            input="pixel_values",
            rule=rule,
            size=size,
            kernel=kernel,
            crop=(high, wide),
            scale=processor.rescale_factor if processor.do_rescale else 1.0,
            mean=tuple(processor.image_mean) if normalises else (0.0,) * channels,
            std=tuple(processor.image_std) if normalises else (1.0,) * channels,
            arithmetic="torch",
        )

    def seen(self, size: tuple[int, int]) -> float:
        """The share of an image of `size` (width, height) that the eval transform uses."""
        high, wide = self._shape[1:]
        target = self._processor.size
        if not self._processor.do_resize:
            across = down = 1.0
        elif self._squashes:
            edges = (target.width or target.shortest_edge, target.height or target.shortest_edge)
            across, down = edges[0] / size[0], edges[1] / size[1]
        else:
            share = self._processor.crop_pct if self._kind == _CONVNEXT else 1.0
            across = down = (target.shortest_edge or high) / share / min(size)
        return min(1.0, wide / (size[0] * across)) * min(1.0, high / (size[1] * down))

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`pixel_values`, `(N, C, H, W)`."""
        return {"pixel_values": torch.stack([sample["pixel_values"] for sample in samples])}

    def config(self) -> dict[str, Any]:
        return {
            "image_processor_type": self._kind,
            **self._options,
            "input_size": list(self._shape),
        }


def files(config: Mapping[str, Any]) -> dict[str, str]:
    """The image processor's file of an export."""
    kind, options = _options(config)
    written = {"image_processor_type": kind, **options}
    return {PREPROCESSOR: json.dumps(written, indent=2, sort_keys=True) + "\n"}


def with_crop(config: Mapping[str, Any], crop: str) -> dict[str, Any]:
    """A config whose images are cropped to the network's input, or squeezed into it; unchanged if
    the source does so.

    Raises: UsageError for "border", which these processors do not support.
    """
    if crop not in ("center", "squash"):
        raise UsageError(
            f"transformers' image processors have no crop '{crop}'",
            thing="--crop",
            remedy="--crop center or --crop squash",
        )
    kind, options = _options(config)
    processor = getattr(transformers, kind)(**options)
    if (crop == "squash") == _squashes(kind, processor):
        return dict(config)
    high, wide = ImagePreprocessor(config)._shape[1:]
    keys = (*_FLAGS, *_SCALES, *_CHANNELS)
    plain: dict[str, Any] = {
        key: value for key in keys if (value := getattr(processor, key, None)) is not None
    }
    plain |= {key: list(plain[key]) for key in _CHANNELS if key in plain}
    if "resample" in plain:
        plain["resample"] = int(plain["resample"])
    sides = {"height": high, "width": wide}
    if crop == "squash":
        fit = {"image_processor_type": "ViTImageProcessor", "size": sides, "do_center_crop": False}
    else:
        fit = {"image_processor_type": "BitImageProcessor", "do_center_crop": True,
               "size": {"shortest_edge": max(high, wide)}, "crop_size": sides}  # fmt: skip
    written = json.dumps(plain | fit, indent=2, sort_keys=True) + "\n"
    return {**config, FILES: {**config.get(FILES, {}), PREPROCESSOR: written}}


def _squashes(kind: str, processor: Any) -> bool:
    """Whether a processor resizes images of any shape to one shape."""
    size = processor.size
    if kind == _CONVNEXT:
        return bool(size.shortest_edge >= _WARPED)
    return bool(processor.do_resize and size.height and size.width)


def _options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The processor's class and its options, of known keys alone."""
    described = settings.json_file(config, PREPROCESSOR)
    named = (
        described.get("image_processor_type")
        or described.get("feature_extractor_type")
        or settings.recipe(config).processor
    )
    kind = str(named).removesuffix("Fast").removesuffix("Pil")
    kind = kind.replace("FeatureExtractor", "ImageProcessor")
    if kind not in _PROCESSORS:
        expected = f"one of {', '.join(_PROCESSORS)}"
        raise config_keys.error("image_processor_type", named, expected, file=PREPROCESSOR)
    return kind, config_keys.select(described, _OPTIONS, file=PREPROCESSOR)


def _check_size(shape: tuple[int, ...], expected: Any) -> None:
    height, width = expected if isinstance(expected, (list, tuple)) else (expected, expected)
    if shape[1:] != (height, width):
        raise DataError(
            f"{PREPROCESSOR} gives images of {shape[1]} x {shape[2]}, the network takes "
            f"{height} x {width}",
            thing="size",
            remedy=f"set 'size' in the source's {PREPROCESSOR}",
        )


def _random_crop(
    image: Image.Image, rng: np.random.Generator, *, mirrors: bool, squashes: bool
) -> Image.Image:
    """A random part of the image, drawn as by random-resized-crop (Szegedy et al., CVPR 2015); if
    the processor squashes images, its aspect ratio is that of the squashed part."""
    area = rng.uniform(0.35, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    ratio *= image.width / image.height if squashes else 1.0
    width = min(image.width, max(1, round(image.width * np.sqrt(area * ratio))))
    height = min(image.height, max(1, round(image.height * np.sqrt(area / ratio))))
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    part = image.crop((left, top, left + width, top + height))
    flip = mirrors and rng.random() < 0.5
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part
