"""Preprocessing as data: what an eval transform does, said so that a graph, a runner without torch
or a page in a browser does the same.

A preprocessor that has the optional method `portable()` returns one of these. Imports no torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from zooadapt.errors import DataError
from zooadapt.family import TextPair, config_keys
from zooadapt.family.config_keys import Kind, choice, listed, number, whole

if TYPE_CHECKING:
    import numpy as np

KERNELS = ("box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's names of the kernels that it resizes with, antialiased."""
RULES = ("shorter", "exact", "cover", "fit")
"""How the size of the resized image follows from `size`: its shorter side is `size`, as torchvision
rounds; it has that size; it covers it, or fits into it, as timm rounds."""
ARITHMETIC = ("pillow", "pillow13", "torch")
"""Whose fixed-point arithmetic: Pillow's has 22 bits, torch's weights have 16. From version 13 on,
Pillow resizes an image vertically first if its height shrinks by more than twice what its width
does."""
_SAFE_PATTERNS = (" {2,}",)
"""Regular expressions of published sentencepiece tokenizers. The library's engine backtracks, so
that on a hostile text another one could take forever."""
_FILE = "preprocessing"
_SIDE = whole(1, 1 << 14)
_SIDES = listed(_SIDE, 2, 2)


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """An image `(H, W, C)` of bytes to `(C, h, w)` float32: resized, cropped or padded around its
    centre, scaled and normalised: `(x * scale - mean) / std`."""

    kind: ClassVar[str] = "pixels"
    input: str
    """The name of the network's input."""
    rule: str
    size: tuple[int, int]
    """Height and width."""
    kernel: str
    crop: tuple[int, int]
    """Height and width of the network's input."""
    fill: tuple[int, ...] | None = None
    """The padding's value in each channel, by default 0."""
    scale: float = 1 / 255
    mean: tuple[float, ...]
    std: tuple[float, ...]
    arithmetic: str

    @property
    def channels(self) -> int:
        """1 for grey images, else 3."""
        return len(self.mean)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A text or pair to token ids by a tokenizer of the library `tokenizers`, truncated to
    `max_length`; a text without tokens is one `padding`."""

    kind: ClassVar[str] = "tokens"
    inputs: tuple[str, ...]
    """Of `input_ids`, `attention_mask` and `token_type_ids`."""
    tokenizer: str
    """The text of its `tokenizer.json`."""
    max_length: int
    padding: int = 0

    def rows(self, raws: Sequence[str]) -> list[dict[str, list[int]]]:
        """The network's inputs for each text, before they are padded."""
        texts = [_texts(raw) if isinstance(raw, TextPair) else clean(raw) for raw in raws]
        rows = []
        for encoding in self._library.encode_batch_fast(texts):
            ids = encoding.ids or [self.padding]
            types = encoding.type_ids or [0]
            every = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types}
            rows.append({name: every[name] for name in self.inputs})
        return rows

    @cached_property
    def _library(self) -> Any:
        import json

        from tokenizers import Tokenizer

        refuse_patterns(json.loads(self.tokenizer))
        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_length)
        return tokenizer


@dataclass(frozen=True, kw_only=True)
class Characters:
    """A text to a row for each character or byte, truncated to `max_length`, and their number.

    The text is normalised (NFC). A character outside the vocabulary becomes its base letters
    without accents, else those in lower case, else `unknown`, as does an empty text.
    """

    kind: ClassVar[str] = "characters"
    inputs: tuple[str, str] = ("ids", "length")
    """Names of the rows and of their number."""
    unit: str
    """`char` or `byte`."""
    vocab: Mapping[str, int] = field(default_factory=dict)
    unknown: int
    max_length: int

    def rows(self, raws: Sequence[str]) -> list[dict[str, list[int] | int]]:
        """The network's inputs for each text, before they are padded."""
        ids = [self.encode(raw) or [self.unknown] for raw in raws]
        return [dict(zip(self.inputs, (one, len(one)), strict=True)) for one in ids]

    def encode(self, raw: str, *, whole: bool = False) -> list[int]:
        """The rows of a text, none for an empty one. whole: it is not truncated."""
        most = None if whole else self.max_length
        if self.unit == "byte":
            return list(raw.encode("utf-8", errors="replace")[:most])
        rows: list[int] = []
        for character in unicodedata.normalize("NFC", raw):
            if most is not None and len(rows) >= most:
                break
            rows += self._spell(character)
        return rows[:most]

    @cached_property
    def _spelled(self) -> dict[str, tuple[int, ...]]:
        return {}

    def _spell(self, character: str) -> tuple[int, ...]:
        rows = self._spelled.get(character)
        if rows is None:
            rows = _spelling(character, self.vocab) or (self.unknown,)
            self._spelled[character] = rows
        return rows


def pillow() -> str:
    """The arithmetic of the installed Pillow."""
    import PIL

    return "pillow13" if int(PIL.__version__.partition(".")[0]) >= 13 else "pillow"


Portable = Pixels | Tokens | Characters
_KINDS: dict[str, type[Portable]] = {one.kind: one for one in (Pixels, Tokens, Characters)}
_TEXT: Kind[str] = config_keys.text("(?s).+", "a text")
_ROW = whole(0, 1 << 21)
_VOCABULARY: Kind[Mapping[str, int]] = Kind(
    lambda value: isinstance(value, Mapping) and all(map(_ROW.accepts, value.values())),
    "an object of whole numbers",
)
_VALUES: dict[str, Kind[Any]] = {
    "input": _TEXT,
    "rule": choice(*RULES),
    "size": _SIDES,
    "kernel": choice(*KERNELS),
    "crop": _SIDES,
    "fill": listed(whole(0, 255), 1, 4),
    "scale": number(0),
    "mean": listed(number(-1000, 1000), 1, 4),
    "std": listed(number(-1000, 1000), 1, 4),
    "arithmetic": choice(*ARITHMETIC),
    "inputs": listed(_TEXT, 1, 3),
    "tokenizer": _TEXT,
    "max_length": whole(1, 1 << 20),
    "padding": _ROW,
    "unit": choice("char", "byte"),
    "vocab": _VOCABULARY,
    "unknown": _ROW,
}


def to_json(portable: Portable) -> dict[str, Any]:
    """The data that `parse` reads."""
    values = {key: value for key, value in asdict(portable).items() if value is not None}
    return {"kind": portable.kind, **values}


def parse(data: Mapping[str, Any]) -> Portable:
    """Preprocessing from data that may come from a stranger.

    Raises: DataError naming the key that is malformed.
    """
    kind = _KINDS[config_keys.get(data, "kind", choice(*_KINDS), file=_FILE)]
    names = [one.name for one in fields(kind)]
    values = config_keys.select(data, {name: _VALUES[name] for name in names}, file=_FILE)
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return kind(**plain)
    except TypeError as error:
        raise DataError(
            f"{_FILE} is incomplete: {error}", thing=_FILE, remedy="export the model again"
        ) from error


def batch(rows: Sequence[Mapping[str, list[int] | int]]) -> dict[str, np.ndarray]:
    """Rows of texts as `(N, T)` and `(N,)` int64, zero after each text's end."""
    import numpy as np

    arrays = {}
    for name, first in rows[0].items():
        if isinstance(first, int):
            arrays[name] = np.array([row[name] for row in rows], np.int64)
            continue
        longest = max(len(row[name]) for row in rows)  # type: ignore[arg-type]  # alike in all rows
        arrays[name] = np.zeros((len(rows), longest), np.int64)
        for line, row in zip(arrays[name], rows, strict=True):
            line[: len(row[name])] = row[name]  # type: ignore[arg-type]  # as above
    return arrays


def clean(text: str) -> str:
    """A text without halves of surrogate pairs."""
    return text.encode("utf-8", errors="replace").decode()


def refuse_patterns(part: Any) -> None:
    """Check the parsed `tokenizer.json` of a stranger.

    Raises: DataError for a regular expression that is not known to be safe.
    """
    if isinstance(part, Mapping):
        pattern = part.get("Regex")
        if isinstance(pattern, str) and pattern not in _SAFE_PATTERNS:
            raise DataError(
                f"tokenizer.json uses the regular expression {pattern[:60]!r}, which zooadapt does "
                "not know to be safe",
                thing="tokenizer.json",
                remedy="use a model with a WordPiece, byte-level or sentencepiece tokenizer",
            )
        for inner in (part.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")):
            refuse_patterns(inner)
        for key in ("normalizers", "pretokenizers", "decoders", "pattern"):
            refuse_patterns(part.get(key))
    elif isinstance(part, list):
        for inner in part:
            refuse_patterns(inner)


def _texts(raw: TextPair) -> tuple[str, str]:
    return clean(raw.first), clean(raw.second)


def _spelling(character: str, vocab: Mapping[str, int]) -> tuple[int, ...]:
    """Rows of the first spelling that the vocabulary covers, if any."""
    decomposed = unicodedata.normalize("NFKD", character)
    base = "".join(part for part in decomposed if not unicodedata.combining(part))
    for spelling in (character, base, base.casefold()):
        if spelling and all(letter in vocab for letter in spelling):
            return tuple(vocab[letter] for letter in spelling)
    return ()
