"""Augmentations of a clip, functions of a random generator alone and so safe in any thread.

`"crop"` shifts a clip: it takes a random part of it. `"flip"` also changes its volume and its sign.
`"rand"` also adds noise, and masks a span of the time and of the bands of a spectrogram
(SpecAugment, Park et al., Interspeech 2019).
"""

from __future__ import annotations

import numpy as np

_SHORTEST = 0.8
"""Of a clip: the share that remains, at least."""
_GAIN = 6.0
"""Decibels."""
_NOISE = (10.0, 40.0)
"""Decibels of the clip above the noise."""
_MASKED = 0.2
"""Of the frames, and of the bands: the share that is masked, at most."""


def vary(samples: np.ndarray, rng: np.random.Generator, augment: str) -> np.ndarray:
    """The samples `(n,)` of a clip, varied."""
    if augment == "none" or not len(samples):
        return samples
    length = int(np.ceil(len(samples) * rng.uniform(_SHORTEST, 1.0)))
    start = int(rng.integers(len(samples) - length + 1))
    samples = samples[start : start + length]
    if augment in ("flip", "rand"):
        sign = rng.choice((-1.0, 1.0))
        samples = samples * np.float32(sign * 10 ** (rng.uniform(-_GAIN, _GAIN) / 20))
    if augment == "rand":
        loudness = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
        level = loudness * 10 ** (-rng.uniform(*_NOISE) / 20)
        noise = rng.standard_normal(len(samples), dtype=np.float32)
        samples = samples + np.float32(level) * noise
    return samples


def mask(spectrogram: np.ndarray, rng: np.random.Generator, augment: str) -> np.ndarray:
    """A spectrogram `(T, bands)` with a span of frames and a span of bands at its smallest value,
    for `"rand"`."""
    if augment != "rand":
        return spectrogram
    masked = spectrogram.copy()
    for axis, size in enumerate(masked.shape):
        width = int(rng.integers(int(size * _MASKED) + 1))
        start = int(rng.integers(size - width + 1))
        spans = [slice(None), slice(None)]
        spans[axis] = slice(start, start + width)
        masked[tuple(spans)] = spectrogram.min()
    return masked
