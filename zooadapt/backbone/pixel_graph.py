"""The preprocessing of images as a torch module, so that an exported graph begins with it.

Pillow resizes bytes by fixed-point arithmetic: whole-number weights, a sum of whole numbers, a
rounding after each of the two passes. Sums of such products are exact in float64, so the module's
matrix products give Pillow's bits on any machine. A graph's own resize operation does not: it
differs by up to 8 of 255 levels on noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zooadapt.family.portable import Pixels

_PILLOW_BITS = 22
_TORCH_BITS = 15
_EDGE = 4


class PixelGraph(nn.Module):
    """`(N, H, W, C)` bytes to `(N, C, h, w)` float32, for images of any equal size."""

    mean: Tensor
    std: Tensor
    fill: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.pixels = pixels
        channels = (1, pixels.channels, 1, 1)
        fill = pixels.fill or (0,) * pixels.channels
        for name, values in (("mean", pixels.mean), ("std", pixels.std), ("fill", fill)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(channels))

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).double()
        # Sizes are tensors, not shapes: no shape of the graph depends on them.
        rows = torch.arange(images.shape[1], dtype=torch.float64, device=images.device)
        columns = torch.arange(images.shape[2], dtype=torch.float64, device=images.device)
        high, wide = rows[-1] + 1, columns[-1] + 1
        resized_high, resized_wide = self._resized(high, wide)
        across, inside_across = self._weights(columns, wide, resized_wide, self.pixels.crop[1])
        down, inside_down = self._weights(rows, high, resized_high, self.pixels.crop[0])
        resized = _pass_down(_pass(x, across), down)
        if self.pixels.arithmetic == "pillow13":
            tall = (resized_high < high) & (high - resized_high > 2 * (wide - resized_wide))
            resized = torch.where(tall, _pass(_pass_down(x, down), across), resized)
        x = resized.float()
        x = torch.where(inside_down[:, None] & inside_across, x, self.fill)
        scale = 1 / self.pixels.scale
        # As torchvision does it: 255 is exact in float32, and its reciprocal is not.
        x = x / round(scale) if abs(scale - round(scale)) < 1e-6 else x * self.pixels.scale
        return (x - self.mean) / self.std

    def _resized(self, high: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
        target_high, target_wide = (float(side) for side in self.pixels.size)
        if self.pixels.rule == "exact":
            return torch.full_like(high, target_high), torch.full_like(wide, target_wide)
        if self.pixels.rule == "shorter":
            shorter, longer = torch.minimum(high, wide), torch.maximum(high, wide)
            long_side = torch.floor(target_high * longer / shorter)
            short_side = torch.full_like(long_side, target_high)
            upright = wide <= high
            return (
                torch.where(upright, long_side, short_side),
                torch.where(upright, short_side, long_side),
            )
        choose = torch.minimum if self.pixels.rule == "cover" else torch.maximum
        ratio = choose(high / target_high, wide / target_wide)
        return torch.round(high / ratio), torch.round(wide / ratio)

    def _weights(
        self, places: Tensor, size: Tensor, resized: Tensor, crop: int
    ) -> tuple[tuple[Tensor, Tensor | float], Tensor]:
        """Whole-number weights `(crop, size)` with the power of two that they are multiples of, and
        `(crop,)`, whether a pixel lies in the image."""
        surplus = resized - crop
        # Halves: torchvision rounds them to even numbers, transformers down.
        cropped = torch.floor if self.pixels.arithmetic == "torch" else torch.round
        start = torch.where(surplus < 0, -torch.floor(-surplus / 2), cropped(surplus / 2))
        index = torch.arange(crop, dtype=torch.float64, device=places.device) + start
        inside = (index >= 0) & (index < resized)
        if self.pixels.arithmetic == "torch":  # its unit depends on the weights at the edges, too
            edge = torch.arange(_EDGE, dtype=torch.float64, device=places.device)
            index = torch.cat((index, edge, resized - 1 - edge))
        index = torch.minimum(index.clamp(min=0), resized - 1)
        kernel, support = _KERNELS[self.pixels.kernel]
        scale = size / resized
        stretch = scale.clamp(min=1)
        center = ((index + 0.5) * scale)[:, None]
        first = torch.trunc(center - support * stretch + 0.5).clamp(min=0)
        last = torch.minimum(torch.trunc(center + support * stretch + 0.5), size)
        weights = kernel((places - center + 0.5) * (1 / stretch))
        weights = torch.where((places >= first) & (places < last), weights, 0.0)
        weights = weights / weights.sum(1, keepdim=True)
        one = self._one(weights)
        rounded = torch.trunc(weights * one + torch.where(weights < 0, -0.5, 0.5))
        return (rounded[:crop], one), inside

    def _one(self, weights: Tensor) -> Tensor | float:
        """The whole number that stands for a weight of 1."""
        if self.pixels.arithmetic != "torch":
            return float(1 << _PILLOW_BITS)
        powers = 2.0 ** torch.arange(1, _PILLOW_BITS + 1, dtype=torch.float64)
        fits = torch.trunc(weights.max() * powers + 0.5) < 1 << _TORCH_BITS
        return torch.where(fits, powers, 1.0).max()


def _pass(x: Tensor, weights: tuple[Tensor, Tensor | float]) -> Tensor:
    """`(..., size)` resized along the last dimension, rounded to bytes."""
    rounded, one = weights
    return torch.floor((x @ rounded.T + one / 2) / one).clamp(0, 255)


def _pass_down(x: Tensor, weights: tuple[Tensor, Tensor | float]) -> Tensor:
    return _pass(x.transpose(2, 3), weights).transpose(2, 3)


def _box(x: Tensor) -> Tensor:
    return torch.where((x > -0.5) & (x <= 0.5), 1.0, 0.0).double()


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _hamming(x: Tensor) -> Tensor:
    x = x.abs()
    angle = x * math.pi
    inner = torch.sin(angle) / torch.where(x == 0, 1.0, angle) * (0.54 + 0.46 * torch.cos(angle))
    return torch.where(x == 0, 1.0, torch.where(x >= 1, 0.0, inner))


def _bicubic(x: Tensor) -> Tensor:
    x, a = x.abs(), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor) -> Tensor:
    inner = _sinc(x) * _sinc(x / 3)
    return torch.where((x >= -3) & (x < 3), inner, 0.0)


def _sinc(x: Tensor) -> Tensor:
    angle = x * math.pi
    return torch.where(x == 0, 1.0, torch.sin(angle) / torch.where(x == 0, 1.0, angle))


_KERNELS: Mapping[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Pillow's kernels with their supports."""
