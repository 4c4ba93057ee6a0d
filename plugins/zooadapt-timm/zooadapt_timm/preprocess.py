"""Photos to the network's input: timm's own eval transform, and augmentation as a function of a
random generator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms import center_crop_or_pad, str_to_pil_interp
from timm.data.transforms_factory import create_transform
from torchvision.transforms import functional as F

from zooadapt.family import Activations, Sample
from zooadapt.family.portable import KERNELS, Pixels, pillow
from zooadapt_timm.augment import random_box, vary

_SMALLEST_CROP = 0.35


class ImagePreprocessor:
    """`x`, `(C, H, W)` float32, from a PIL image of C bands.

    Without an rng it is the transform that timm resolves for the source, bit for bit. With one,
    and `augment` other than `"none"`, it is a random box of 35 to 100 % of the image's area, which
    `"flip"` mirrors at random and `"rand"` also changes in colour or shape. The box is drawn in the
    squeezed or padded image if the source squeezes or pads.
    """

    def __init__(self, pretrained: Mapping[str, Any], *, augment: str) -> None:
        self._data: dict[str, Any] = resolve_data_config(  # type: ignore[no-untyped-call]  # timm's
            pretrained_cfg=dict(pretrained)
        )
        self._augment = augment
        self._eval = create_transform(**self._data, is_training=False)
        self._finish = self._eval.transforms[-2:]
        self._size: tuple[int, int] = tuple(self._data["input_size"][1:])
        self._crop = self._data["crop_mode"]
        self._fill = [round(255 * value) for value in self._data["mean"]]
        self._resample = str_to_pil_interp(  # type: ignore[no-untyped-call]  # timm's
            self._data["interpolation"]
        )
        side = max(self._size)
        self.min_side: int | None = math.floor(side / self._data["crop_pct"])
        """Pixels that the resize, or a random box of the smallest area, needs."""
        if augment != "none":
            self.min_side = math.ceil(side / math.sqrt(_SMALLEST_CROP))

    def __call__(self, raw: Image.Image, *, rng: np.random.Generator | None) -> Sample:
        if rng is None or self._augment == "none":
            return {"x": self._eval(raw)}
        if self._crop == "border":
            sides, fill = [max(raw.size)] * 2, self._fill
            # timm's annotations name tensors alone, and one fill for all channels.
            raw = center_crop_or_pad(raw, sides, fill)  # type: ignore[arg-type, assignment]
        frame = (max(raw.size),) * 2 if self._crop == "squash" else raw.size
        across, down = raw.width / frame[0], raw.height / frame[1]
        left, top, width, height = random_box(frame, rng, scale=(_SMALLEST_CROP, 1.0))
        image = F.resized_crop(
            raw, int(top * down), int(left * across), max(1, round(height * down)),
            max(1, round(width * across)), self._size, self._resample,
        )  # fmt: skip
        image = vary(image, rng, self._augment)
        for transform in self._finish:
            image = transform(image)
        return {"x": image}

    def seen(self, size: tuple[int, int]) -> float:
        """The share of an image of `size` (width, height) that the eval transform uses."""
        high, wide = self._size
        share: float = self._data["crop_pct"]
        resized = math.floor(wide / share), math.floor(high / share)
        scales = [after / before for after, before in zip(resized, size, strict=True)]
        if self._crop != "squash":
            scales = [min(scales) if self._crop == "border" else max(scales)] * 2
        used: list[float] = [
            min(1.0, side / (before * scale))
            for side, before, scale in zip((wide, high), size, scales, strict=True)
        ]
        return used[0] * used[1]

    def portable(self) -> Pixels | None:
        """The eval transform as data. None for a kernel that Pillow does not antialias."""
        high, wide = self._size
        share, kernel = self._data["crop_pct"], self._data["interpolation"]
        resized = math.floor(high / share), math.floor(wide / share)
        if kernel not in KERNELS or self._data.get("crop_border_pixels"):
            return None
        rule = {"squash": "exact", "border": "fit"}.get(self._crop)
        return Pixels(
            input="x",
            rule=rule or ("shorter" if resized[0] == resized[1] else "cover"),
            size=resized,
            kernel=kernel,
            crop=(high, wide),
            fill=tuple(self._fill) if self._crop == "border" else None,
            mean=tuple(self._data["mean"]),
            std=tuple(self._data["std"]),
            arithmetic=pillow(),
        )

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`x` `(N, C, H, W)`."""
        return {"x": torch.stack([sample["x"] for sample in samples])}

    def config(self) -> dict[str, Any]:
        return {
            key: list(value) if isinstance(value, (tuple, list)) else value
            for key, value in self._data.items()
        }
