"""The `config.json` of this family, checked key by key."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zooadapt.family import config_keys
from zooadapt.family.config_keys import FLAG, FRACTION, choice, get, whole

ARCHITECTURE = "char_rnn"
"""Text classifiers as this family builds and exports them."""

LANGUAGE_MODELS = {"char_lstm": "lstm", "char_gru": "gru"}
"""Character language models (embed, one stacked torch RNN, a head over the vocabulary) -> cell."""

DEFAULT_MAX_LENGTH = 256
"""For sources that declare none: 99 % of SMS messages and every question of TREC are shorter."""

RARE = 5
"""A new vocabulary omits characters that a text holds less often: with them the network learns what
an unknown one means."""

_BYTES = 256
_EMBEDDING = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A parsed config. `unknown` is the embedding row of every symbol outside the vocabulary."""

    cell: str
    unit: str
    vocab: Mapping[str, int]
    symbols: int
    """Embedding rows of the source, without one appended for the unknown."""
    unknown: int
    embedding_dim: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    max_length: int
    dropout: float
    classes: tuple[str, ...] | None

    @property
    def rows(self) -> int:
        """Embedding rows of the network."""
        return max(self.symbols, self.unknown + 1)

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def features(self) -> int:
        """D: the last, mean and max state, each as wide as the last layer's output."""
        return 3 * self.hidden_size * self.directions

    @property
    def alphabet(self) -> tuple[bytes, ...]:
        """The UTF-8 of each row; empty for the unknown and for unused rows."""
        if self.unit == "byte":
            known = {row: bytes([row]) for row in range(_BYTES)}
        else:
            known = {row: text.encode("utf-8", "replace") for text, row in self.vocab.items()}
        return tuple(known.get(row, b"") for row in range(self.rows))

    def text(self) -> dict[str, Any]:
        """The keys that turn a text into indices."""
        keys = {"unit": self.unit, "unknown": self.unknown, "max_length": self.max_length}
        return keys if self.unit == "byte" else keys | {"vocab": dict(self.vocab)}

    def native(self, classes: Sequence[str] | None) -> dict[str, Any]:
        """The `config.json` of the same network as a classifier of `classes`, or as a source."""
        keys = {
            "architecture": ARCHITECTURE,
            "cell": self.cell,
            **self.text(),
            "vocab_size": self.rows,
            "embedding_dim": self.embedding_dim,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
        }
        return keys if classes is None else keys | {"classes": list(classes)}


def parse(config: Mapping[str, Any]) -> Settings:
    """Read a `config.json` of a classifier (`char_rnn`) or a language model (`char_lstm`,
    `char_gru`).

    A source without `unknown` gets one row appended for it; without `max_length`, the default.

    Raises: DataError naming the key that is missing, of a wrong type or out of bounds.
    """
    architecture = get(config, "architecture", choice(ARCHITECTURE, *LANGUAGE_MODELS))
    cell = LANGUAGE_MODELS.get(architecture) or get(config, "cell", choice("lstm", "gru"))
    unit = get(config, "unit", choice("char", "byte"), "char")
    size = whole(1, 1 << 14)
    if unit == "byte":
        symbols = get(config, "vocab_size", whole(_BYTES, 1 << 21), _BYTES)
    else:
        symbols = get(config, "vocab_size", whole(1, 1 << 21))
    return Settings(
        cell=cell,
        unit=unit,
        vocab=_vocab(config, symbols) if unit == "char" else {},
        symbols=symbols,
        unknown=get(config, "unknown", whole(0, symbols - 1), symbols),
        embedding_dim=get(config, "embedding_dim", size),
        hidden_size=get(config, "hidden_size", size),
        num_layers=get(config, "num_layers", whole(1, 64)),
        bidirectional=get(config, "bidirectional", FLAG, False),
        max_length=get(config, "max_length", whole(1, 1 << 20), DEFAULT_MAX_LENGTH),
        dropout=float(get(config, "dropout", FRACTION, 0.0)),
        classes=config_keys.names(config, "classes"),
    )


def language_config(text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
    """The `config.json` of a new LSTM language model that reads texts like this in one direction.

    Raises: DataError naming the size that is out of bounds.
    """
    vocab: dict[str, int] = {}
    if unit == "char":
        counts = Counter(unicodedata.normalize("NFC", text))
        frequent = sorted(character for character, count in counts.items() if count >= RARE)
        vocab = {character: row for row, character in enumerate(frequent)}
    symbols = len(vocab) if unit == "char" else _BYTES
    config = {
        "architecture": ARCHITECTURE,
        "cell": "lstm",
        "unit": unit,
        "vocab": vocab,
        "vocab_size": symbols + 1,
        "unknown": symbols,
        "embedding_dim": min(_EMBEDDING, hidden),
        "hidden_size": hidden,
        "num_layers": layers,
    }
    return parse(config).native(None)


def _vocab(config: Mapping[str, Any], symbols: int) -> dict[str, int]:
    vocab, row = config_keys.nested(config, "vocab"), whole(0, symbols - 1)
    if not vocab:
        expected = "an object: character -> embedding row"
        raise config_keys.error("vocab", config.get("vocab"), expected)
    for character, value in vocab.items():
        if not row.accepts(value):
            raise config_keys.error(
                f"vocab[{character!r}]", value, f"a row below vocab_size = {symbols}"
            )
    return dict(vocab)
