"""The eval transform is timm's; augmentation is a function of the generator alone."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

BASE = {"architecture": "resnet18", "num_classes": 3}
SOURCES = {
    "mobilenet": {"input_size": [3, 224, 224], "interpolation": "bilinear", "crop_pct": 0.875,
                  "mean": [0.5] * 3, "std": [0.5] * 3},
    "squash": {"input_size": [3, 64, 64], "crop_pct": 1.0, "crop_mode": "squash"},
    "border": {"input_size": [3, 96, 96], "crop_pct": 0.9, "crop_mode": "border"},
    "oblong": {"input_size": [3, 64, 128]},
    "grey": {"input_size": [1, 32, 32], "mean": [0.4], "std": [0.2]},
}  # fmt: skip


def photo(size=(211, 160), *, bands=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, bands))
    image = Image.fromarray(pixels.astype(np.uint8).squeeze())
    return image.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", SOURCES)
def test_without_a_generator_it_is_timms_eval_transform(family, name):
    config = BASE | {"pretrained_cfg": SOURCES[name]}
    expected = create_transform(
        **resolve_data_config(pretrained_cfg=SOURCES[name]), is_training=False
    )
    preprocessor = family.preprocessor(config, augment="rand")
    for size in ((211, 160), (160, 300), (20, 20)):
        image = photo(size, bands=SOURCES[name]["input_size"][0])
        sample = preprocessor(image, rng=None)
        assert sample["x"].dtype == torch.float32
        assert torch.equal(sample["x"], expected(image))
    assert list(sample["x"].shape) == SOURCES[name]["input_size"]
    assert preprocessor.config()["input_size"] == SOURCES[name]["input_size"]


def test_an_architecture_without_a_config_has_timms_default(family):
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 3, "pretrained_cfg": {}}
    assert family.preprocessor(config).config()["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("augment", ["crop", "flip", "rand"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_an_augmentation_depends_on_the_generator_alone(family, augment, bands):
    config = family.with_input(BASE, size=32, channels=bands)
    preprocessor = family.preprocessor(config, augment=augment)
    image = photo((50, 40), bands=bands)

    def view(seed):
        return preprocessor(image, rng=np.random.default_rng(seed))["x"]

    before = [view(seed) for seed in range(40)]
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(view, range(40)))
    assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))
    assert len({view.numpy().tobytes() for view in before}) > 35
    assert all(view.shape == (bands, 32, 32) and view.isfinite().all() for view in before)
    assert states[0] == random.getstate() and torch.equal(states[1], torch.get_rng_state())
    assert states[2] == np.random.get_state()[1].tolist()


def test_no_augmentation_ignores_the_generator(family):
    preprocessor = family.preprocessor(BASE)
    image = photo()
    view = preprocessor(image, rng=np.random.default_rng(0))["x"]
    assert torch.equal(view, preprocessor(image, rng=None)["x"])


def test_crops_cover_a_third_to_all_of_the_image(family):
    """A view of a ramp shows which part of it the box took."""
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).convert("RGB")
    config = BASE | {"pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.0] * 3,
                                        "std": [1.0] * 3}}  # fmt: skip
    crop, flip = (family.preprocessor(config, augment=a) for a in ("crop", "flip"))
    widths, mirrored = [], 0
    for seed in range(200):
        row = crop(ramp, rng=np.random.default_rng(seed))["x"][0, 32]
        widths.append(float(row.max() - row.min()))
        assert row[-1] > row[0]
        row = flip(ramp, rng=np.random.default_rng(seed))["x"][0, 32]
        mirrored += bool(row[-1] < row[0])
    assert 0.45 < min(widths) < 0.6 and max(widths) > 0.95
    assert 70 < mirrored < 130


def test_a_very_long_image_is_cropped_too(family):
    preprocessor = family.preprocessor(BASE, augment="crop")
    for size in ((400, 3), (1, 300), (1, 1)):
        view = preprocessor(Image.new("RGB", size), rng=np.random.default_rng(0))["x"]
        assert view.shape == (3, 224, 224)


def test_min_side_is_what_the_transform_needs(family):
    assert family.preprocessor(BASE | {"pretrained_cfg": SOURCES["mobilenet"]}).min_side == 256
    larger = family.preprocessor(BASE, augment="flip").min_side
    assert larger * 0.35**0.5 >= 224


def test_samples_are_stacked(family):
    preprocessor = family.preprocessor(BASE)
    activations = preprocessor.collate([preprocessor(photo(seed=k), rng=None) for k in range(3)])
    assert activations["x"].shape == (3, 3, 224, 224)
    assert torch.equal(activations["x"][1], preprocessor(photo(seed=1), rng=None)["x"])


def ramp(size, *, axis):
    """A picture of one band that brightens from 0 to 255 along an axis."""
    row = np.linspace(0, 255, size[axis])
    pixels = np.tile(row, (size[1], 1)) if axis == 0 else np.tile(row[:, None], (1, size[0]))
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


GREY = {"input_size": [1, 64, 64], "mean": [0.0], "std": [1.0], "interpolation": "bilinear"}


@pytest.mark.parametrize("crop", ["center", "squash"])
@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("size", [(256, 256), (640, 128), (100, 300)])
@pytest.mark.parametrize("oblong", [False, True])
def test_seen_is_the_share_that_reaches_the_sample(family, crop, share, size, oblong):
    pretrained = GREY | {"crop_pct": share}
    if oblong:
        pretrained["input_size"] = [1, 64, 128]
    config = family.with_crop(BASE | {"pretrained_cfg": pretrained}, crop=crop)
    preprocessor = family.preprocessor(config)
    along = []
    for axis in (0, 1):
        values = preprocessor(ramp(size, axis=axis), rng=None)["x"]
        along.append(float(values.max() - values.min()))
    assert abs(along[0] * along[1] - preprocessor.seen(size)) < 0.04


def test_a_border_uses_the_whole_image(family):
    for share in (1.0, 0.8):
        config = family.with_crop(BASE | {"pretrained_cfg": GREY | {"crop_pct": share}},
                                  crop="border")  # fmt: skip
        preprocessor = family.preprocessor(config)
        assert abs(preprocessor.seen((640, 64)) - share) < 0.02
        assert abs(preprocessor.seen((64, 64)) - share**2) < 0.02


@pytest.mark.parametrize("crop", ["squash", "border", "center"])
def test_augmentations_are_drawn_after_the_crop_mode(family, crop):
    """A view of a picture four times as wide as high shows a third of its width or more, unless it
    is cut off."""
    config = family.with_crop(BASE | {"pretrained_cfg": GREY}, crop=crop)
    preprocessor = family.preprocessor(config, augment="crop")
    picture, spans, least, most = ramp((256, 64), axis=0), [], 1.0, 0.0
    for seed in range(100):
        rows = preprocessor(picture, rng=np.random.default_rng(seed))["x"][0, 20:44]
        spans.append(float(rows.max() - rows.min()))
        least, most = min(least, float(rows.min())), max(most, float(rows.max()))
    assert (np.mean(spans) > 0.6) == (crop != "center")
    assert crop == "center" or (least < 0.05 and most > 0.95)


def test_an_export_keeps_the_crop(family):
    config = family.with_crop(BASE | {"pretrained_cfg": SOURCES["mobilenet"]}, crop="squash")
    native = family.native_config(config, ["a", "b"])
    assert native["pretrained_cfg"]["crop_mode"] == "squash"
    assert native["pretrained_cfg"]["crop_pct"] == 0.875
    with pytest.raises(Exception, match="crop_mode"):
        family.preprocessor(family.with_crop(BASE | {"pretrained_cfg": GREY}, crop="fit"))
