"""What a `config.json` of this family says, checked key by key."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zooadapt.errors import DataError

ARCHITECTURE = "char_rnn"
"""Text classifiers as this family builds and exports them."""

LANGUAGE_MODELS = {"char_lstm": "lstm", "char_gru": "gru"}
"""Character language models (embed, one stacked torch RNN, a head over the vocabulary) -> cell."""

DEFAULT_MAX_LENGTH = 256
"""For sources that declare none: 99 % of SMS messages and every question of TREC are shorter."""

RARE = 5
"""A new vocabulary leaves out characters that a text holds less often: they teach the network what
an unknown one means."""

_BYTES = 256
_EMBEDDING = 64
_LIMITS = {
    "vocab_size": 1 << 21, "embedding_dim": 1 << 14, "hidden_size": 1 << 14, "num_layers": 64,
    "max_length": 1 << 20,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A parsed config. `unknown` is the embedding row of every symbol outside the vocabulary."""

    cell: str
    unit: str
    vocab: Mapping[str, int]
    symbols: int
    """Embedding rows of the source, before one for the unknown is appended."""
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
        """The UTF-8 of each row; empty for the unknown and for rows that nothing is read as."""
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
    architecture = _choice(config, "architecture", (ARCHITECTURE, *LANGUAGE_MODELS))
    cell = LANGUAGE_MODELS.get(architecture) or _choice(config, "cell", ("lstm", "gru"))
    unit = _choice(config, "unit", ("char", "byte"), default="char")
    symbols = _size(config, "vocab_size", default=_BYTES if unit == "byte" else None)
    if unit == "byte" and symbols < _BYTES:
        raise _bad("vocab_size", symbols, f"at least {_BYTES}, a row for each byte")
    return Settings(
        cell=cell,
        unit=unit,
        vocab=_vocab(config, symbols) if unit == "char" else {},
        symbols=symbols,
        unknown=_unknown(config, symbols),
        embedding_dim=_size(config, "embedding_dim"),
        hidden_size=_size(config, "hidden_size"),
        num_layers=_size(config, "num_layers"),
        bidirectional=_flag(config, "bidirectional"),
        max_length=_size(config, "max_length", default=DEFAULT_MAX_LENGTH),
        dropout=_fraction(config, "dropout"),
        classes=_names(config, "classes"),
    )


def language_config(text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
    """The `config.json` of a new LSTM language model that reads such a text one way.

    Raises: DataError naming the size that is out of bounds.
    """
    vocab: dict[str, int] = {}
    if unit == "char":
        counts = Counter(unicodedata.normalize("NFC", text))
        kept = sorted(character for character, count in counts.items() if count >= RARE)
        vocab = {character: row for row, character in enumerate(kept)}
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
    vocab = config.get("vocab")
    if not isinstance(vocab, Mapping) or not vocab:
        raise _bad("vocab", vocab, "an object: character -> embedding row")
    for character, row in vocab.items():
        if not _is_int(row) or not 0 <= row < symbols:
            raise _bad(f"vocab[{character!r}]", row, f"a row below vocab_size = {symbols}")
    return dict(vocab)


def _unknown(config: Mapping[str, Any], symbols: int) -> int:
    row = config.get("unknown", symbols)
    if "unknown" in config and (not _is_int(row) or not 0 <= row < symbols):
        raise _bad("unknown", row, f"a row below vocab_size = {symbols}")
    return row


def _size(config: Mapping[str, Any], key: str, *, default: int | None = None) -> int:
    value = config.get(key, default)
    if not _is_int(value) or not 1 <= value <= _LIMITS[key]:
        raise _bad(key, value, f"a whole number from 1 to {_LIMITS[key]}")
    return value


def _choice(
    config: Mapping[str, Any], key: str, choices: tuple[str, ...], *, default: str | None = None
) -> str:
    value = config.get(key, default)
    if value not in choices:
        raise _bad(key, value, " or ".join(f"'{choice}'" for choice in choices))
    return value


def _flag(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise _bad(key, value, "true or false")
    return value


def _fraction(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise _bad(key, value, "a number from 0 to below 1")
    return float(value)


def _names(config: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _bad(key, value, "a list of names")
    return tuple(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(key: str, value: Any, wanted: str) -> DataError:
    shown = "nothing" if value is None else repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return DataError(
        f"config.json: '{key}' is {shown}, expected {wanted}",
        thing=key,
        remedy="correct the source's config.json",
    )
