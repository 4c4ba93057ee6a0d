"""Mel spectrograms of a clip, exact to the definition that librosa gives by default: frames around
every `hop_length`-th sample, of `n_fft` samples under a periodic Hann window, silence beyond the
ends; the power of their Fourier transform; triangular bands on Slaney's mel scale, each of area 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_LINEAR = 200 / 3
"""Hertz of one mel below `_BREAK`."""
_BREAK = 1000.0
_LOG_STEP = math.log(6.4) / 27
"""The logarithm of the ratio of frequencies one mel apart, above `_BREAK`."""
_AT_ONCE = 2048
"""Frames that are transformed at once: a long clip takes little more memory than its result."""


@dataclass(frozen=True, kw_only=True)
class MelSpectrogram:
    """Clips to powers of mel bands, without a logarithm."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int

    def frames(self, samples: int) -> int:
        """The number of frames of a clip."""
        return 1 + samples // self.hop_length

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """`(T, n_mels)` float32 of the samples `(n,)` of a clip, also of none."""
        padding = self.n_fft // 2
        padded = np.pad(samples, (padding, self.n_fft - padding))
        windows = sliding_window_view(padded, self.n_fft)[:: self.hop_length]
        bands = np.empty((self.frames(len(samples)), self.n_mels), dtype=np.float32)
        for start in range(0, len(bands), _AT_ONCE):
            end = min(start + _AT_ONCE, len(bands))
            spectrum = np.fft.rfft(windows[start:end] * self._window)
            power = spectrum.real**2 + spectrum.imag**2
            bands[start:end] = power @ self._filters
        return bands

    @cached_property
    def _window(self) -> np.ndarray:
        window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        return window

    @cached_property
    def _filters(self) -> np.ndarray:
        """`(1 + n_fft // 2, n_mels)`."""
        bins = np.arange(1 + self.n_fft // 2) * self.sample_rate / self.n_fft
        edges = hertz(np.linspace(0, mel(self.sample_rate / 2), self.n_mels + 2))
        low, centre, high = edges[:-2], edges[1:-1], edges[2:]
        rise = (bins[:, None] - low) / (centre - low)
        fall = (high - bins[:, None]) / (high - centre)
        filters: np.ndarray = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
        return filters


def mel(frequency: float) -> float:
    """Slaney's scale: linear up to 1000 Hz, then logarithmic."""
    if frequency < _BREAK:
        return frequency / _LINEAR
    return _BREAK / _LINEAR + math.log(frequency / _BREAK) / _LOG_STEP


def hertz(mels: np.ndarray) -> np.ndarray:
    """The inverse of `mel`."""
    start = _BREAK / _LINEAR
    above = _BREAK * np.exp(_LOG_STEP * np.maximum(mels - start, 0))
    return np.where(mels < start, mels * _LINEAR, above)


def raised(samples: np.ndarray, dbfs: float) -> np.ndarray:
    """A clip that is quieter than `dbfs` (root mean square, 0 is full scale), amplified to that
    level; louder clips and silence as they are."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    if power == 0 or 10 * np.log10(power) >= dbfs:
        return samples
    return samples * np.float32(10 ** (dbfs / 20) / np.sqrt(power))
