"""Texts to embedding rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from zooadapt.family import Activations, Sample
from zooadapt_rnn.settings import Settings


class TextPreprocessor:
    """Characters or UTF-8 bytes of a text as `ids`, `(T,)`, with its `length`, `()`.

    The text is normalised (NFC) and truncated to `max_length` symbols. A character outside the
    vocabulary becomes its base letters without accents, else those in lower case, else the unknown
    symbol. An empty text is one unknown symbol.
    """

    min_side: int | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spelled: dict[str, tuple[int, ...]] = {}

    def __call__(self, raw: str, *, rng: np.random.Generator | None) -> Sample:
        return self.sample(self._rows(raw) or [self._settings.unknown])

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`ids` `(N, T)`, zero after each text's end, and `length` `(N,)`."""
        return {
            "ids": pad_sequence([sample["ids"] for sample in samples], batch_first=True),
            "length": torch.stack([sample["length"] for sample in samples]),
        }

    def config(self) -> dict[str, Any]:
        return self._settings.text()

    def encode(self, raw: str) -> list[int]:
        """Embedding rows of a whole text."""
        return self._rows(raw, whole=True)

    def sample(self, rows: Sequence[int]) -> Sample:
        """`ids` and `length` of one or more embedding rows."""
        return {"ids": torch.tensor(rows), "length": torch.tensor(len(rows))}

    def length(self, raw: str) -> int:
        """Symbols of a whole text."""
        return len(self._rows(raw, whole=True))

    def unknowns(self, raw: str) -> tuple[int, int]:
        """The number of unknown symbols of a text, and the number of all that the network reads."""
        rows = self._rows(raw)
        return rows.count(self._settings.unknown), len(rows)

    def _rows(self, raw: str, *, whole: bool = False) -> list[int]:
        most = None if whole else self._settings.max_length
        if self._settings.unit == "byte":
            return list(raw.encode("utf-8", errors="replace")[:most])
        rows: list[int] = []
        for character in unicodedata.normalize("NFC", raw):
            if most is not None and len(rows) >= most:
                break
            rows += self._spell(character)
        return rows[:most]

    def _spell(self, character: str) -> tuple[int, ...]:
        rows = self._spelled.get(character)
        if rows is None:
            rows = _spelling(character, self._settings.vocab) or (self._settings.unknown,)
            self._spelled[character] = rows
        return rows


def _spelling(character: str, vocab: Mapping[str, int]) -> tuple[int, ...]:
    """Rows of the first spelling that the vocabulary covers, if any."""
    decomposed = unicodedata.normalize("NFKD", character)
    base = "".join(part for part in decomposed if not unicodedata.combining(part))
    for spelling in (character, base, base.casefold()):
        if spelling and all(letter in vocab for letter in spelling):
            return tuple(vocab[letter] for letter in spelling)
    return ()
