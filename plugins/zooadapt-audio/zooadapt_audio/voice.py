"""The network of a recurrent voice encoder, and its clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from zooadapt_rnn import recurrent

from zooadapt.family import Activations, Clip, Sample, Stage
from zooadapt_audio import augment
from zooadapt_audio.mel import MelSpectrogram, raised
from zooadapt_audio.settings import Settings

_STACK, _LAYERS = "lstm", "rnn"
"""The names of a source's stacked `torch.nn.LSTM`, and of the same layers in the network."""
_EMBEDDING = "pooling.linear"


class Pooling(nn.Module):
    """The states of a clip as one vector, in one of the ways of `POOLINGS`. A module, since what a
    network computes is distinguished by its modules."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._way = settings.pooling
        embeds = settings.pooling == "embedding"
        self.linear = nn.Linear(settings.hidden_size, settings.embedding_size) if embeds else None

    def forward(self, states: Tensor, length: Tensor) -> Tensor:
        """`(N, D)` of the first `length` `(N,)` of the states `(N, T, H)`."""
        if self.linear is not None:
            embedding = torch.relu(self.linear(recurrent.last_states(states, length)))
            return nn.functional.normalize(embedding, dim=1)
        if self._way == "statistics":
            return recurrent.statistics(states, length)
        return recurrent.concatenated(states, length)

    def extra_repr(self) -> str:
        return self._way


class VoiceClassifier(nn.Module):
    """A classifier of clips: LSTM layers over frames, the pooled states of the last, a head."""

    def __init__(self, settings: Settings, num_classes: int) -> None:
        super().__init__()
        self.rnn = recurrent.layers(
            "lstm", settings.n_mels, settings.hidden_size, count=settings.num_layers
        )
        self.pooling = Pooling(settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.features, num_classes)

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        """Logits `(N, K)` of the first `length` `(N,)`, >= 1, of `frames` `(N, T, n_mels)`."""
        activations: Activations = {"frames": frames, "length": length}
        for stage in self.stages():
            activations = stage.run(activations)
        logits: Tensor = self.head(activations["features"])
        return logits

    def stages(self) -> Sequence[Stage]:
        return (
            *recurrent.stages(self.rnn, path=_LAYERS, reads="frames"),
            Stage(name="pooling", run=self._pool, owns=("pooling", "dropout")),
        )

    def _pool(self, activations: Activations) -> Activations:
        pooled = self.pooling(activations["states"], activations["length"])
        return {"features": self.dropout(pooled)}


def converted(state: Mapping[str, Tensor], settings: Settings) -> dict[str, Tensor]:
    """The tensors of a source under the network's names, without the layers and the embedding that
    the network lacks."""
    layers = tuple(f"{_LAYERS}.{k}." for k in range(settings.num_layers))
    embedding = (f"{_EMBEDDING}.",) if settings.pooling == "embedding" else ()
    own = (*layers, *embedding, "head.")
    named = {_network_name(name): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in named.items() if name.startswith(own)}


def native(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `converted`."""
    return {
        recurrent.stacked(name, _LAYERS, _STACK).removeprefix("pooling."): tensor
        for name, tensor in state.items()
    }


def _network_name(name: str) -> str:
    if name.startswith("linear."):
        return f"pooling.{name}"
    return recurrent.unstacked(name, _STACK, _LAYERS)


class VoicePreprocessor:
    """The frames of a clip, `frames` `(T, n_mels)`, with their number `length`, `()`.

    Quiet clips are raised to the encoder's volume; a clip is truncated to `max_length` frames.
    """

    min_side: int | None = None

    def __init__(self, settings: Settings, *, augment: str) -> None:
        self._settings, self._augment = settings, augment
        self._mel = MelSpectrogram(
            sample_rate=settings.sample_rate,
            n_fft=settings.n_fft,
            hop_length=settings.hop_length,
            n_mels=settings.n_mels,
        )

    def __call__(self, raw: Clip, *, rng: np.random.Generator | None) -> Sample:
        mel, samples = self._mel, raw.samples
        if rng is not None:
            samples = augment.vary(samples, rng, self._augment)
        if self._settings.volume_dbfs is not None:
            samples = raised(samples, self._settings.volume_dbfs)
        most = self._settings.max_length
        bands = mel(samples[: most * mel.hop_length + mel.n_fft])[:most]
        if rng is not None:
            bands = augment.mask(bands, rng, self._augment)
        return {"frames": torch.from_numpy(bands), "length": torch.tensor(len(bands))}

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`frames` `(N, T, n_mels)`, zero after each clip's end, and `length` `(N,)`."""
        return {
            "frames": pad_sequence([sample["frames"] for sample in samples], batch_first=True),
            "length": torch.stack([sample["length"] for sample in samples]),
        }

    def config(self) -> dict[str, Any]:
        return self._settings.sound()

    def length(self, raw: Clip) -> int:
        """Frames of a whole clip."""
        return self._mel.frames(len(raw.samples))
