"""The graph that prepares images gives the bits of the library that it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from zooadapt.backbone.pixel_graph import PixelGraph
from zooadapt.family.portable import Pixels, pillow

SIZES = ((40, 61), (61, 40), (90, 20), (20, 90), (33, 33), (1, 1), (2, 70), (150, 97))
CLOSE = 1e-6


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)


def graph(
    *, rule: str, size: tuple[int, int], kernel: str, crop: tuple[int, int], arithmetic: str
) -> PixelGraph:
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "scale": 1.0}
    return PixelGraph(
        Pixels(
            input="x", rule=rule, size=size, kernel=kernel, crop=crop, arithmetic=arithmetic,
            **plain,
        )
    )  # fmt: skip


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_the_graph_equals_timms_transform(kernel: str, mode: str, size: tuple[int, int]) -> None:
    pytest.importorskip("timm")
    from zooadapt_timm.preprocess import ImagePreprocessor

    described = {"input_size": (3, *size), "crop_mode": mode, "crop_pct": 0.875,
                 "interpolation": kernel}  # fmt: skip
    preprocessor = ImagePreprocessor(described, augment="none")
    pixels = preprocessor.portable()
    assert pixels is not None
    whole = PixelGraph(pixels)
    for shape in SIZES:
        image = noise(shape)
        expected = preprocessor(Image.fromarray(image), rng=None)["x"]
        assert torch.equal(whole(torch.from_numpy(image)[None])[0], expected), shape


@pytest.mark.parametrize("shape", [(60, 40), (90, 31), (48, 96)])
@pytest.mark.parametrize("size", [(20, 20), (20, 60), (70, 50)])
def test_passes_have_pillows_order(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = noise(shape)
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
    whole = graph(rule="exact", size=size, kernel="bicubic", crop=size, arithmetic=pillow())
    pixels = whole(torch.from_numpy(image)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, np.asarray(resized))


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_torchs_arithmetic_is_its_own(kernel: str) -> None:
    modes = {"bilinear": F.InterpolationMode.BILINEAR, "bicubic": F.InterpolationMode.BICUBIC}
    whole = graph(rule="exact", size=(30, 26), kernel=kernel, crop=(30, 26), arithmetic="torch")
    for shape in SIZES:
        image = torch.from_numpy(noise(shape))
        expected = F.resize(image.permute(2, 0, 1), [30, 26], interpolation=modes[kernel])
        assert torch.equal(whole(image[None])[0], expected.float()), shape


@pytest.mark.parametrize("crop", ["center", "squash"])
def test_the_graph_equals_transformers_processors(crop: str) -> None:
    pytest.importorskip("transformers")
    from zooadapt_transformers.family import VisionFamily

    family = VisionFamily()
    for name, config in family.examples().items():
        preprocessor = family.preprocessor(family.with_crop(config, crop=crop))
        pixels = preprocessor.portable()
        assert pixels is not None, name
        for shape in SIZES[:5]:
            image = noise(shape)
            expected = preprocessor(Image.fromarray(image), rng=None)["pixel_values"]
            difference = PixelGraph(pixels)(torch.from_numpy(image)[None])[0] - expected
            assert difference.abs().max() < CLOSE * 10, (name, shape)


def test_a_kernel_that_pillow_does_not_antialias_is_no_data() -> None:
    pytest.importorskip("timm")
    from zooadapt_timm.preprocess import ImagePreprocessor

    described = {"input_size": (3, 32, 32), "interpolation": "nearest"}
    assert ImagePreprocessor(described, augment="none").portable() is None


def test_images_in_a_batch_do_not_mix() -> None:
    whole = graph(rule="shorter", size=(16, 16), kernel="bicubic", crop=(16, 16),
                  arithmetic="pillow13")  # fmt: skip
    images = torch.from_numpy(np.stack([noise((40, 30)), noise((40, 30))[::-1].copy()]))
    alone = torch.cat([whole(image[None]) for image in images])
    assert torch.equal(whole(images), alone)
    assert math.isclose(float(alone.max()), 255, abs_tol=60)
