"""The `config.json` of a recurrent voice encoder, checked key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zooadapt.errors import DataError
from zooadapt.family import config_keys
from zooadapt.family.config_keys import FRACTION, choice, get, number, whole

ARCHITECTURE = "voice_lstm"
_MEL = "slaney, power 2, not log"
EMBEDDING = "relu(linear(last hidden state)), L2-normalised"
POOLINGS = {
    "states": "last, mean and max state",
    "statistics": "mean, deviation, max and min of the states",
    "embedding": "the encoder's own embedding",
}
"""Values of `pooling` -> in words."""
DEFAULT_MAX_LENGTH = 3000
"""Frames of a clip that are read, half a minute at a hop of 10 ms, for sources that declare none.
Longer recordings are read in windows."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A parsed config."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    volume_dbfs: float | None
    hidden_size: int
    num_layers: int
    embeds: bool
    """Whether the source has an embedding of its own."""
    embedding_size: int
    pooling: str
    max_length: int
    dropout: float
    frames: int | None
    license: str | None
    classes: tuple[str, ...] | None

    @property
    def features(self) -> int:
        """D: the width of what the last stage pools."""
        widths = {
            "states": 3 * self.hidden_size,
            "statistics": 4 * self.hidden_size,
            "embedding": self.embedding_size,
        }
        return widths[self.pooling]

    def sound(self) -> dict[str, Any]:
        """The keys that turn a clip into frames."""
        return {
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "n_mels": self.n_mels,
            "mel": _MEL,
            "volume_dbfs": self.volume_dbfs,
            "max_length": self.max_length,
        }

    def native(self, classes: Sequence[str]) -> dict[str, Any]:
        """The `config.json` of the same network as a classifier of `classes`."""
        keys = {
            "architecture": ARCHITECTURE,
            **self.sound(),
            "frames": self.frames,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "embedding": EMBEDDING if self.embeds else None,
            "embedding_size": self.embedding_size if self.embeds else None,
            "pooling": self.pooling,
            "dropout": self.dropout,
            "license": self.license,
            "classes": list(classes),
        }
        return {key: value for key, value in keys.items() if value is not None}


def parse(config: Mapping[str, Any]) -> Settings:
    """Read a `config.json` of a voice encoder, or of a classifier made from one.

    Raises: DataError naming the key that is missing, of a wrong type or out of bounds.
    """
    get(config, "architecture", choice(ARCHITECTURE))
    get(config, "mel", choice(_MEL))
    size = whole(1, 1 << 14)
    hidden = get(config, "hidden_size", size)
    n_fft = get(config, "n_fft", whole(16, 1 << 15))
    n_mels = get(config, "n_mels", whole(1, 1 << 10))
    if n_mels > n_fft // 2:
        raise DataError(
            f"config.json: 'n_mels' is {n_mels}, and a frame of 'n_fft' = {n_fft} samples "
            f"has {n_fft // 2} frequencies",
            thing="n_mels",
            remedy="correct the source's config.json",
        )
    pooling = get(config, "pooling", choice(*POOLINGS), "states")
    embedding = get(config, "embedding", choice(EMBEDDING), None)
    return Settings(
        sample_rate=get(config, "sample_rate", whole(1000, 192_000)),
        n_fft=n_fft,
        hop_length=get(config, "hop_length", whole(1, 1 << 15)),
        n_mels=n_mels,
        volume_dbfs=get(config, "volume_dbfs", number(-120, 0), None),
        hidden_size=hidden,
        num_layers=get(config, "num_layers", whole(1, 64)),
        embeds=embedding is not None or pooling == "embedding",
        embedding_size=get(config, "embedding_size", size, hidden),
        pooling=pooling,
        max_length=get(config, "max_length", whole(1, 1 << 20), DEFAULT_MAX_LENGTH),
        dropout=float(get(config, "dropout", FRACTION, 0.0)),
        frames=get(config, "frames", whole(1, 1 << 20), None),
        license=get(config, "license", config_keys.text(r".{0,200}", "a licence"), None),
        classes=config_keys.names(config, "classes"),
    )
