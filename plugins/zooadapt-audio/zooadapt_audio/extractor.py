"""Clips to the input of transformers' networks, by transformers' own feature extractors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence
from zooadapt_transformers import settings, waveform

from zooadapt.errors import DataError
from zooadapt.family import Activations, Clip, Sample, config_keys
from zooadapt.family.config_keys import FLAG, Kind, number, whole
from zooadapt_audio import augment

PREPROCESSOR = "preprocessor_config.json"
MOST_SECONDS = 30
"""Of a waveform: attention takes memory by the square of its length. Longer recordings are read in
windows."""
_FRAME = 400
"""Samples that a spectrogram needs."""
_OPTIONS: dict[str, Kind[Any]] = {
    "sampling_rate": whole(1000, 192_000),
    "feature_size": whole(1, 1 << 10),
    "num_mel_bins": whole(1, 1 << 10),
    "n_fft": whole(16, 1 << 15),
    "hop_length": whole(1, 1 << 15),
    "chunk_length": whole(1, 600),
    "max_length": whole(1, 1 << 16),
    "padding_value": number(-1000, 1000),
    "mean": number(-1000, 1000),
    "std": number(1e-6, 1000),
    "do_normalize": FLAG,
}
_OF_KIND = {
    "Wav2Vec2FeatureExtractor": ("sampling_rate", "do_normalize"),
    "WhisperFeatureExtractor": (
        "sampling_rate", "feature_size", "n_fft", "hop_length", "chunk_length", "padding_value",
    ),
    "ASTFeatureExtractor": (
        "sampling_rate", "num_mel_bins", "max_length", "do_normalize", "mean", "std",
    ),
}  # fmt: skip
"""Feature extractors -> the keys of theirs that are read."""


class ExtractorPreprocessor:
    """The samples of a clip, `input_values` `(T,)`, with their `attention_mask`, or its spectrogram
    of fixed size, as the source's own feature extractor makes them."""

    min_side: int | None = None

    def __init__(self, config: Mapping[str, Any], *, augment: str = "none") -> None:
        """Raises: DataError when the extractor's file is missing or unusable, or gives spectrograms
        of another size than the network's."""
        self._kind, self._options = _options(config)
        self._augment = augment
        self._extractor: Any = getattr(transformers, self._kind)(**self._options)
        self.rate: int = self._extractor.sampling_rate
        network, recipe = settings.parse(config, 2), settings.recipe(config)
        self._reads, self._shape = recipe.reads, None
        self._shortest = _FRAME
        if recipe.waveform:
            self._shortest = waveform.shortest(network)
        else:
            blank = self._spectrogram(np.zeros(_FRAME, np.float32))
            self._shape = tuple(blank.shape)
            _check_shape(self._shape, network)

    def __call__(self, raw: Clip, *, rng: np.random.Generator | None) -> Sample:
        samples = raw.samples
        if rng is not None:
            samples = augment.vary(samples, rng, self._augment)
        missing = self._shortest - len(samples)
        if missing > 0:
            samples = np.pad(samples, (0, missing))
        if self._shape is None:
            values = self._waveform(samples[: MOST_SECONDS * self.rate])
            return {"input_values": values, "attention_mask": torch.ones_like(values).long()}
        spectrogram = self._spectrogram(samples)
        if rng is not None:
            spectrogram = self._masked(spectrogram, len(samples), rng)
        return {self._reads: spectrogram}

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """Each tensor with N in front; waveforms and masks are zero after a clip's end."""
        return {
            name: pad_sequence([sample[name] for sample in samples], batch_first=True)
            for name in samples[0]
        }

    def config(self) -> dict[str, Any]:
        if self._shape is None:
            limits: dict[str, Any] = {"samples": [self._shortest, MOST_SECONDS * self.rate]}
        else:
            limits = {"shape": list(self._shape)}
        return {"feature_extractor_type": self._kind, **self._options, **limits}

    def length(self, raw: Clip) -> int:
        """Samples of a whole clip."""
        return len(raw.samples)

    def _waveform(self, samples: np.ndarray) -> torch.Tensor:
        extracted = self._extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        values: torch.Tensor = extracted["input_values"][0]
        return values

    def _spectrogram(self, samples: np.ndarray) -> torch.Tensor:
        extracted = self._extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        spectrogram: torch.Tensor = extracted[self._reads][0]
        return spectrogram

    def _masked(
        self, spectrogram: torch.Tensor, samples: int, rng: np.random.Generator
    ) -> torch.Tensor:
        """With a span of the clip's own frames and a span of bands masked, for `"rand"`."""
        hop = getattr(self._extractor, "hop_length", self.rate // 100)
        bands_first = self._kind == "WhisperFeatureExtractor"
        frames = (spectrogram.T if bands_first else spectrogram).numpy().copy()
        own = 1 + samples // hop
        frames[:own] = augment.mask(frames[:own], rng, self._augment)
        masked = torch.from_numpy(frames)
        return masked.T.contiguous() if bands_first else masked


def sample_rate(config: Mapping[str, Any]) -> int:
    """The rate of a source's extractor. Raises: DataError as `ExtractorPreprocessor`."""
    return int(_options(config)[1].get("sampling_rate", 16_000))


def files(config: Mapping[str, Any]) -> dict[str, str]:
    """The extractor's file of an export."""
    kind, options = _options(config)
    written = {"feature_extractor_type": kind, **options}
    return {PREPROCESSOR: json.dumps(written, indent=2, sort_keys=True) + "\n"}


def _options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The extractor's class and its options, of known keys alone."""
    described = settings.json_file(config, PREPROCESSOR)
    expected = settings.recipe(config).processor or ""
    kind = described.get("feature_extractor_type") or expected
    if kind != expected:
        raise config_keys.error("feature_extractor_type", kind, expected, file=PREPROCESSOR)
    kinds = {key: _OPTIONS[key] for key in _OF_KIND[expected]}
    return expected, config_keys.select(described, kinds, file=PREPROCESSOR)


def _check_shape(shape: tuple[int, ...], network: Any) -> None:
    if hasattr(network, "max_source_positions"):
        expected = (network.num_mel_bins, 2 * network.max_source_positions)
    else:
        expected = (network.max_length, network.num_mel_bins)
    if shape != expected:
        raise DataError(
            f"{PREPROCESSOR} gives spectrograms of {shape[0]} x {shape[1]}, the network takes "
            f"{expected[0]} x {expected[1]}",
            thing=PREPROCESSOR,
            remedy=f"correct the source's {PREPROCESSOR}",
        )
