"""The front end against its definition, written anew with scipy, and augmentations of a clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import stft
from zooadapt_audio import augment
from zooadapt_audio.mel import MelSpectrogram, raised

SHAPES = (
    (16_000, 400, 160, 40, 7_321),
    (8_000, 256, 128, 12, 1_000),
    (22_050, 2_048, 512, 128, 9_000),
    (16_000, 400, 160, 40, 90),
    (16_000, 400, 160, 40, 0),
)


def random_clip(samples: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def slaney_hertz(mels: float) -> float:
    return mels * 200 / 3 if mels < 15 else 1000 * 6.4 ** ((mels - 15) / 27)


def triangle(f: float, low: float, centre: float, high: float) -> float:
    if low < f <= centre:
        height = (f - low) / (centre - low)
    else:
        height = (high - f) / (high - centre) if centre < f < high else 0.0
    return height * 2 / (high - low)


def by_definition(samples: np.ndarray, rate: int, n_fft: int, hop: int, bands: int) -> np.ndarray:
    zeros = np.zeros(n_fft // 2)
    padded = np.concatenate((zeros, samples, zeros)).astype(np.float64)
    _, _, spectrum = stft(
        padded, nperseg=n_fft, noverlap=n_fft - hop, boundary=None, padded=False, scaling="spectrum"
    )
    power = np.abs(spectrum * n_fft / 2) ** 2  # scipy divides by the sum of the window
    highest = 15 + 27 * math.log(rate / 2000, 6.4)
    edges = [slaney_hertz(k * highest / (bands + 1)) for k in range(bands + 2)]
    filters = [
        [triangle(b * rate / n_fft, *edges[k : k + 3]) for b in range(n_fft // 2 + 1)]
        for k in range(bands)
    ]
    return (np.array(filters) @ power).T


@pytest.mark.parametrize(("rate", "n_fft", "hop", "bands", "samples"), SHAPES)
def test_bands_equal_the_definition(rate, n_fft, hop, bands, samples):
    mel = MelSpectrogram(sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=bands)
    clip = random_clip(samples)
    expected = by_definition(clip, rate, n_fft, hop, bands)
    assert mel(clip).shape == expected.shape == (mel.frames(samples), bands)
    np.testing.assert_allclose(mel(clip), expected, rtol=2e-6, atol=1e-12)


def test_a_long_clip_has_the_frames_of_its_parts():
    mel = MelSpectrogram(sample_rate=8_000, n_fft=64, hop_length=16, n_mels=8)
    clip = random_clip(16 * 5_000)
    late = mel(clip[16 * 3_000 :])
    np.testing.assert_allclose(mel(clip)[3_010:], late[10:], rtol=1e-6)


@pytest.mark.parametrize("level", [1e-4, 0.01])
def test_a_quiet_clip_is_raised_to_the_volume(level):
    clip = raised(level * random_clip(4_000), -30.0)
    assert 20 * math.log10(np.sqrt(np.mean(clip.astype(float) ** 2))) == pytest.approx(
        -30, abs=1e-4
    )


@pytest.mark.parametrize("clip", [random_clip(4_000), np.zeros(9, np.float32), np.zeros(0)])
def test_loud_clips_and_silence_stay_as_they_are(clip):
    assert raised(clip, -30.0) is clip


@pytest.mark.parametrize("kind", ["none", "crop", "flip", "rand"])
def test_augmentations_are_a_function_of_clip_and_generator(kind):
    clip = random_clip(1_000)
    before = clip.copy()
    one, again, other = (augment.vary(clip, np.random.default_rng(s), kind) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (kind == "none") == np.array_equal(one, other)
    np.testing.assert_array_equal(clip, before)
    assert one.dtype == np.float32 and 800 <= len(one) <= 1_000


def test_a_shift_is_a_part_of_the_clip():
    clip = np.arange(1_000, dtype=np.float32)
    part = augment.vary(clip, np.random.default_rng(3), "crop")
    np.testing.assert_array_equal(part, clip[int(part[0]) : int(part[0]) + len(part)])


def test_gain_scales_a_clip_by_six_decibels_at_most():
    factors = [
        augment.vary(np.ones(10, np.float32), np.random.default_rng(seed), "flip")[0]
        for seed in range(200)
    ]
    assert 0.5 < np.abs(factors).min() < 0.56 and 1.8 < np.abs(factors).max() < 2
    assert 70 < sum(factor < 0 for factor in factors) < 130


def test_noise_is_ten_to_forty_decibels_below_the_clip():
    tone = np.sin(np.arange(8_000) / 5).astype(np.float32)
    below = []
    for seed in range(60):
        varied = augment.vary(tone, np.random.default_rng(seed), "rand")
        clean = augment.vary(tone, np.random.default_rng(seed), "flip")
        noise = np.mean((varied - clean) ** 2.0)
        below.append(10 * np.log10(np.mean(clean**2.0) / noise))
    assert 9 < min(below) < 14 and 36 < max(below) < 41


def test_a_mask_covers_a_span_of_frames_and_of_bands():
    spectrogram = np.random.default_rng(0).uniform(1, 2, (50, 20)).astype(np.float32)
    spectrogram[0, 0] = 0.5
    widths = []
    for seed in range(40):
        masked = augment.mask(spectrogram, np.random.default_rng(seed), "rand") == 0.5
        frames, bands = masked.all(axis=1), masked.all(axis=0)
        assert np.array_equal(masked[1:, 1:], (frames[:, None] | bands)[1:, 1:])
        widths.append((int(frames.sum()), int(bands.sum())))
    most = np.max(widths, axis=0)
    assert most[0] == 10 and most[1] == 4
    assert augment.mask(spectrogram, np.random.default_rng(0), "flip") is spectrogram
