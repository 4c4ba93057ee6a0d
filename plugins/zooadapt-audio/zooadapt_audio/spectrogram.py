"""Clips as images of log-mel bands, for image networks of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from timm.data.config import resolve_data_config
from torch.nn.functional import interpolate
from zooadapt_timm.zoo import resolve

from zooadapt.errors import DataError
from zooadapt.family import Activations, Clip, Sample, config_keys
from zooadapt.family.config_keys import Kind, number, whole
from zooadapt_audio import augment
from zooadapt_audio.mel import MelSpectrogram

KEY = "spectrogram"
"""The object of a `config.json` that holds the `Settings`."""
_KINDS: dict[str, Kind[Any]] = {
    "sample_rate": whole(1000, 192_000),
    "n_fft": whole(16, 1 << 15),
    "hop_length": whole(1, 1 << 15),
    "n_mels": whole(1, 1 << 10),
    "range_db": number(1, 200),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The image of a clip: what is `range_db` below its loudest band or quieter is black."""

    sample_rate: int = 32_000
    n_fft: int = 1024
    hop_length: int = 320
    n_mels: int = 128
    range_db: float = 80.0


def parse(config: Mapping[str, Any]) -> Settings:
    """The settings in a `config.json`, the defaults where it has none.

    Raises: DataError naming the key that is of a wrong type or out of bounds.
    """
    settings = Settings(
        **config_keys.select(config_keys.nested(config, KEY), _KINDS, within=f"{KEY}.")
    )
    if settings.n_mels > settings.n_fft // 2:
        raise DataError(
            f"config.json: '{KEY}.n_mels' is {settings.n_mels}, and a frame of {settings.n_fft} "
            f"samples has {settings.n_fft // 2} frequencies",
            thing=f"{KEY}.n_mels",
            remedy="correct the source's config.json",
        )
    return settings


def described(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as the object of a `config.json`."""
    return asdict(parse(config))


class SpectrogramPreprocessor:
    """`x`, `(C, H, W)`: the whole clip over the width, low frequencies at the bottom, the same in
    all channels, normalised as the network's images are."""

    min_side: int | None = None

    def __init__(self, config: Mapping[str, Any], *, augment: str) -> None:
        self._settings, self._augment = parse(config), augment
        data: dict[str, Any] = resolve_data_config(  # type: ignore[no-untyped-call]  # timm's
            pretrained_cfg=dict(resolve(config).pretrained)
        )
        self._size: tuple[int, int, int] = tuple(data["input_size"])
        self._mean, self._std = (
            torch.tensor(data[name], dtype=torch.float32)[:, None, None] for name in ("mean", "std")
        )
        settings = self._settings
        self._mel = MelSpectrogram(
            sample_rate=settings.sample_rate,
            n_fft=settings.n_fft,
            hop_length=settings.hop_length,
            n_mels=settings.n_mels,
        )

    def __call__(self, raw: Clip, *, rng: np.random.Generator | None) -> Sample:
        samples = raw.samples
        if rng is not None:
            samples = augment.vary(samples, rng, self._augment)
        lightness = self._lightness(self._mel(samples).astype(np.float64))
        if rng is not None:
            lightness = augment.mask(lightness, rng, self._augment)
        upright = torch.from_numpy(np.ascontiguousarray(lightness.T[::-1], dtype=np.float32))
        image = interpolate(upright[None, None], self._size[1:], mode="bilinear", antialias=True)
        return {"x": (image[0] - self._mean) / self._std}

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`x` `(N, C, H, W)`."""
        return {"x": torch.stack([sample["x"] for sample in samples])}

    def _lightness(self, bands: np.ndarray) -> np.ndarray:
        """Powers `(T, n_mels)` by their logarithm: the loudest is 1, and black 0."""
        loudest, span = float(bands.max()), self._settings.range_db
        if loudest == 0:
            return bands
        decibels = 10 * np.log10(np.maximum(bands / loudest, 10 ** (-span / 10)))
        lightness: np.ndarray = decibels / span + 1
        return lightness

    def config(self) -> dict[str, Any]:
        return {
            **asdict(self._settings),
            "input_size": list(self._size),
            "mean": self._mean.flatten().tolist(),
            "std": self._std.flatten().tolist(),
        }
