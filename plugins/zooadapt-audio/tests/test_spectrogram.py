"""Image networks of timm on spectrograms: what the image shows, exports in stock timm."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from zooadapt_audio import SpectrogramFamily
from zooadapt_timm import TimmFamily

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError
from zooadapt.family import Clip

FAMILY = SpectrogramFamily()
SOURCE = FAMILY.examples()["convolutions"]
GREY = FAMILY.examples()["grey"]
PLAIN = TimmFamily().examples()["convolutions"]
RATE = 8_000


def tone(hertz: float, seconds: float = 0.5, *, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(RATE * seconds) / RATE)).astype(np.float32)


def image(samples: np.ndarray, source=GREY) -> torch.Tensor:
    """Lightness from 0 to 1, `(H, W)`."""
    prepare = FAMILY.preprocessor(source)
    config = prepare.config()
    x = prepare(Clip(samples=samples, rate=RATE), rng=None)["x"]
    return x[0] * config["std"][0] + config["mean"][0]


def test_low_tones_are_at_the_bottom_and_time_runs_to_the_right():
    low_then_high = image(np.concatenate((tone(300), tone(3_000))))
    assert low_then_high.shape == (64, 64)
    left, right = low_then_high[:, 8:24].mean(1).argmax(), low_then_high[:, 40:56].mean(1).argmax()
    assert left > 45 and right < 15


@torch.no_grad()
def test_an_image_spans_the_clip_whatever_its_volume_and_length():
    reference = image(tone(500, 0.5))
    assert reference.min() >= 0 and reference.max() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(image(tone(500, 0.5, level=0.01)), reference, rtol=0, atol=1e-3)
    assert (image(tone(500, 2.0))[:, 8:56] - reference[:, 8:56]).abs().max() < 0.1


@pytest.mark.parametrize("samples", [0, 1, 4_000])
def test_silence_is_black(samples):
    assert image(np.zeros(samples, np.float32)).abs().max() < 1e-6


def test_channels_are_those_of_the_network():
    for source, channels in ((GREY, 1), (SOURCE, 3)):
        raw = Clip(samples=tone(500), rate=RATE)
        x = FAMILY.preprocessor(source)(raw, rng=None)["x"]
        assert x.shape == (channels, 64, 64)
        config = FAMILY.preprocessor(source).config()
        pixels = x * torch.tensor(config["std"])[:, None, None]
        pixels += torch.tensor(config["mean"])[:, None, None]
        torch.testing.assert_close(pixels, pixels[:1].expand(channels, -1, -1))


def test_a_source_of_timm_is_read_at_the_default_rate():
    assert FAMILY.sample_rate(PLAIN) == 32_000 and FAMILY.sample_rate(SOURCE) == RATE
    assert not FAMILY.claims(PLAIN) and not TimmFamily().claims(SOURCE)
    native = FAMILY.native_config(PLAIN, ["a", "b"])
    assert FAMILY.claims(native) and not TimmFamily().claims(native)
    assert FAMILY.preprocessor(native).config() == FAMILY.preprocessor(PLAIN).config()


@torch.no_grad()
def test_an_export_loads_in_stock_timm_with_equal_logits(tmp_path):
    torch.manual_seed(0)
    backbone = StagedBackbone(FAMILY, FAMILY.build(SOURCE, 2))
    native = FAMILY.native_config(SOURCE, ["bird", "rain"])
    (tmp_path / "config.json").write_text(json.dumps(native))
    state = {name: t.contiguous() for name, t in backbone.net.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    stock = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    prepare = FAMILY.preprocessor(native)
    raw = Clip(samples=tone(700), rate=RATE)
    activations = prepare.collate([prepare(raw, rng=None)])
    torch.testing.assert_close(stock(activations["x"]), backbone.logits(activations))


@pytest.mark.parametrize(
    ("settings", "thing"),
    [
        ({"sample_rate": 0}, "spectrogram.sample_rate"),
        ({"n_mels": 600, "n_fft": 1024}, "spectrogram.n_mels"),
        ({"range_db": "much"}, "spectrogram.range_db"),
    ],
)
def test_a_wrong_spectrogram_is_one_clear_error(settings, thing):
    with pytest.raises(DataError) as caught:
        FAMILY.preprocessor({**SOURCE, "spectrogram": settings})
    assert caught.value.thing == thing


def test_augmentations_change_the_image_by_the_generator_alone():
    prepare = FAMILY.preprocessor(SOURCE, augment="rand")
    raw = Clip(samples=tone(700), rate=RATE)
    first, again, other = (prepare(raw, rng=np.random.default_rng(s))["x"] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
