"""What a source reads of texts: which of their symbols it knows, and how much of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zooadapt.backbone.pretrained import Model
from zooadapt.data import Split, modalities

_FRAME = 4
"""Special tokens around a text, at most, which the limit counts and the symbols read do not."""


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """Symbols or tokens that were read of all texts, and what was not."""

    unknown: int
    read: int
    texts: int
    limit: int
    longer: int
    """Texts that have more symbols than the limit."""
    longest: int

    def to_json(self) -> dict[str, int]:
        return {"count": self.unknown, "of": self.read}

    @property
    def notes(self) -> list[str]:
        """What a user has to know of it."""
        notes = []
        if self.unknown:
            counts = f"{self.unknown} of {self.read} symbols ({self.unknown / self.read:.2%})"
            notes.append(f"{counts} are unknown to the source")
        if self.longer:
            verb = "is" if self.longer == 1 else "are"
            notes.append(
                f"{self.longer} of {self.texts} texts {verb} longer than {self.limit} symbols, and "
                f"the rest is not read; --max-length {self.longest} reads all of it, where the "
                "network has positions for that"
            )
        return notes


def of_texts(model: Model, splits: Iterable[Split]) -> Symbols | None:
    """Count the symbols of every text; None for samples that are no texts."""
    if not modalities.named(model.source.family.modality).is_language:
        return None
    prepare: Any = model.preprocessor
    limit = prepare.config().get("max_length")
    limit = limit if isinstance(limit, int) else sys.maxsize
    unknown = read = texts = longer = longest = 0
    for split in splits:
        for k in range(len(split)):
            text = split.raw(k)
            unfamiliar, length_read = prepare.unknowns(text)
            unknown, read, texts = unknown + unfamiliar, read + length_read, texts + 1
            if length_read + _FRAME >= limit and (length := prepare.length(text)) > limit:
                longer, longest = longer + 1, max(longest, length)
    return Symbols(
        unknown=unknown, read=read, texts=texts, limit=limit, longer=longer, longest=longest
    )
