"""Texts to embedding rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from zooadapt.family import Activations, Sample
from zooadapt.family.portable import Characters
from zooadapt_rnn.settings import Settings


class TextPreprocessor:
    """Characters or UTF-8 bytes of a text as `ids`, `(T,)`, with its `length`, `()`.

    `Characters` spells it; an empty text is one unknown symbol.
    """

    min_side: int | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._characters = Characters(
            unit=settings.unit,
            vocab=settings.vocab,
            unknown=settings.unknown,
            max_length=settings.max_length,
        )

    def __call__(self, raw: str, *, rng: np.random.Generator | None) -> Sample:
        return self.sample(self._characters.encode(raw) or [self._settings.unknown])

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """`ids` `(N, T)`, zero after each text's end, and `length` `(N,)`."""
        return {
            "ids": pad_sequence([sample["ids"] for sample in samples], batch_first=True),
            "length": torch.stack([sample["length"] for sample in samples]),
        }

    def config(self) -> dict[str, Any]:
        return self._settings.text()

    def portable(self) -> Characters:
        return self._characters

    def encode(self, raw: str) -> list[int]:
        """Embedding rows of a whole text."""
        return self._characters.encode(raw, whole=True)

    def sample(self, rows: Sequence[int]) -> Sample:
        """`ids` and `length` of one or more embedding rows."""
        return {"ids": torch.tensor(rows), "length": torch.tensor(len(rows))}

    def length(self, raw: str) -> int:
        """Symbols of a whole text."""
        return len(self.encode(raw))

    def unknowns(self, raw: str) -> tuple[int, int]:
        """The number of unknown symbols of a text, and the number of all that the network reads."""
        rows = self._characters.encode(raw)
        return rows.count(self._settings.unknown), len(rows)
