"""Texts: cells of a table, lines of a text file, or whole text files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zooadapt.data.reading import GZIP
from zooadapt.errors import DataError
from zooadapt.family import TextPair
from zooadapt.family.modality import Limits, Modality, View

if TYPE_CHECKING:
    import numpy as np

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Text(Modality):
    """A `str`, or a `TextPair` of two."""

    api = 1
    name = "text"
    noun, plural = "text", "texts"
    pipeline_tag = "text-classification"
    example = 'echo "a text" | zooadapt predict {model} -'
    in_cells = is_language = True
    suffixes = (".txt",)
    formats = ".txt"
    column = "text_column"
    columns = frozenset({
        "text", "texts", "sentence", "sentences", "review", "reviews", "review text", "tweet",
        "tweets", "tweet text", "message", "messages", "sms", "email", "content", "body",
        "comment", "comment text", "comments", "question", "utterance", "query", "headline",
        "document", "post", "v2",
    })  # fmt: skip

    def decode(self, file: BinaryIO, *, name: str, view: View, limits: Limits) -> str:
        try:
            return file.read().decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"text '{name}' is not UTF-8: {error.reason} at byte {error.start}",
                thing=name,
                remedy="convert it to UTF-8",
            ) from error

    def pieces(self, raw: str) -> Iterable[bytes]:
        if isinstance(raw, TextPair):
            # Not the two texts joined: these are another sample.
            return [hashlib.sha256(part.encode()).digest() for part in (raw.first, raw.second)]
        return [raw.encode()]

    def synthesise(self, rng: np.random.Generator, *, view: View) -> str:
        words = ("".join(rng.choice(list(_LETTERS), rng.integers(1, 9))) for _ in range(20))
        return " ".join(words)[: int(rng.integers(3, 70))]

    def extremes(self, *, view: View) -> Sequence[str]:
        return ["", " \t\n", "é£ 你好 \U0001f600", "\ud800", "x", "long " * 2000]

    def joined(self, raws: Sequence[str]) -> str:
        return " ".join(raws)

    def is_named_so(self, name: str) -> bool:
        return Path(name.lower().removesuffix(GZIP)).suffix in (*self.suffixes, "")

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def memory(self, raw: str) -> int:
        return len(raw)

    def shown(self, raw: str) -> str:
        return f"{raw.first} / {raw.second}" if isinstance(raw, TextPair) else raw


MODALITY = Text()
