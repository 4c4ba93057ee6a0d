"""Texts to token ids, by the source's own tokenizer, which is data for a Rust library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from zooadapt.errors import DataError, UsageError
from zooadapt.family import FILES, Activations, Sample, TextPair, config_keys
from zooadapt.family.portable import Tokens, clean, refuse_patterns
from zooadapt_transformers import pooling, settings, wordpiece

T = TypeVar("T")
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

_TOKENS = (
    "bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token",
)  # fmt: skip
_DEFAULT_MAX_LENGTH = 512


class TextPreprocessor:
    """Token ids of a text, `input_ids` and `attention_mask`, both `(T,)`, special tokens included,
    and `token_type_ids`, `(T,)`, if the network distinguishes the two texts of a pair by them.

    A pair is encoded as the tokenizer encodes pairs. A text is truncated to `max_length` tokens,
    the limit of the tokenizer's config and of the network's positions. A text without tokens
    becomes one padding token.
    """

    min_side: int | None = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Raises: DataError when a file of the tokenizer is missing or unusable."""
        text = _tokenizer_text(config)
        described = settings.parsed_json(text, TOKENIZER)
        refuse_patterns(described)
        self._tokenizer = _load(text)
        self._text = text
        self._sha256 = hashlib.sha256(text.encode()).hexdigest()
        self._unknown = _unknown_id(self._tokenizer, described)
        special = self._tokenizer.num_special_tokens_to_add(False)
        self.max_length = _max_length(config, special)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)
        self._padding = int(settings.fields(config).get("pad_token_id") or 0)
        self.inputs = ["input_ids", "attention_mask"]
        if (getattr(settings.parse(config, 2), "type_vocab_size", None) or 0) > 1:
            self.inputs.append("token_type_ids")

    def __call__(self, raw: str, *, rng: np.random.Generator | None) -> Sample:
        """Raises: DataError when the tokenizer fails on the text."""
        return self._sample(self._encode(raw))

    def many(self, raws: Sequence[str]) -> list[Sample]:
        """Raises: DataError when the tokenizer fails on one of the texts."""
        texts = [_texts(raw) if isinstance(raw, TextPair) else clean(raw) for raw in raws]
        encodings = _contained(lambda: self._tokenizer.encode_batch_fast(texts))
        return [self._sample(encoding) for encoding in encodings]

    def length(self, raw: str) -> int:
        """Tokens of a whole text or pair, special ones included."""
        texts = _texts(raw)
        whole = [self._encode(text) for text in texts]
        pieces = [piece for encoding in whole for piece in (encoding, *encoding.overflowing)]
        special = self._tokenizer.num_special_tokens_to_add
        own = sum(len(piece.ids) - special(False) for piece in pieces)
        return own + special(len(texts) > 1)

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """The same names, `(N, T)`, zero after each text's end."""
        return {
            key: pad_sequence([sample[key] for sample in samples], batch_first=True)
            for key in self.inputs
        }

    def portable(self) -> Tokens:
        return Tokens(
            inputs=tuple(self.inputs),
            tokenizer=self._text,
            max_length=self.max_length,
            padding=self._padding,
        )

    def config(self) -> dict[str, Any]:
        return {"tokenizer_sha256": self._sha256, "max_length": self.max_length}

    def unknowns(self, raw: str) -> tuple[int, int]:
        """The number of unknown tokens of a text, and of all its tokens but special ones."""
        encoding = self._encode(raw)
        parts = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        ids = [row for row, special in parts if not special]
        return ids.count(self._unknown), len(ids)

    def _encode(self, raw: str) -> Any:
        first, *second = _texts(raw)
        pair = second[0] if second else None
        return _contained(lambda: self._tokenizer.encode(first, pair))

    def _sample(self, encoding: Any) -> Sample:
        ids = torch.tensor(encoding.ids or [self._padding])
        types = torch.tensor(encoding.type_ids or [0])
        sample = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
        return {name: sample[name] for name in self.inputs}


def _texts(raw: str) -> tuple[str, ...]:
    """The one text of a sample, or the two of a pair."""
    return tuple(map(clean, (raw.first, raw.second) if isinstance(raw, TextPair) else (raw,)))


def with_length(config: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The config of the same source for texts of up to `length` tokens.

    Raises: UsageError when the network has fewer positions.
    """
    files = dict(config.get(FILES, {}))
    files[TOKENIZER_CONFIG] = json.dumps(_tokenizer_config(config) | {"model_max_length": length})
    if pooling.ENCODER in files:
        encoder = settings.json_file(config, pooling.ENCODER)
        files[pooling.ENCODER] = json.dumps(encoder | {"max_seq_length": length})
    longer = {**config, FILES: files}
    limit = max_length(longer)
    if limit < length:
        raise UsageError(
            f"the network has positions for {limit} tokens, not for {length}",
            thing="--max-length",
            remedy=f"--max-length {limit}",
        )
    return longer


def max_length(config: Mapping[str, Any]) -> int:
    """The largest number of tokens of a text, special ones included."""
    return TextPreprocessor(config).max_length


def width(config: Mapping[str, Any]) -> int:
    """Dimensions of a token's state."""
    return int(settings.parse(config, 2).hidden_size)


def files(config: Mapping[str, Any]) -> dict[str, str]:
    """The tokenizer's files of an export. Its config has only the special tokens' names and the
    length: a chat template is a program, and a path is of another machine."""
    options, preprocessor = _tokenizer_config(config), TextPreprocessor(config)
    tokens = {key: _token(options[key]) for key in _TOKENS if key in options}
    written = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": preprocessor.max_length,
        "model_input_names": preprocessor.inputs,
        **{key: token for key, token in tokens.items() if token is not None},
    }
    return {
        TOKENIZER: _tokenizer_text(config),
        TOKENIZER_CONFIG: json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
    }


def _tokenizer_text(config: Mapping[str, Any]) -> str:
    """The source's `tokenizer.json`, or one made from its vocabulary alone."""
    files = config.get(FILES, {})
    if TOKENIZER not in files and config.get("model_type") in wordpiece.MODEL_TYPES:
        if wordpiece.VOCABULARY in files:
            options = _tokenizer_config(config)
            return _contained(
                lambda: wordpiece.tokenizer_json(files[wordpiece.VOCABULARY], options)
            )
    return settings.text_file(config, TOKENIZER)


def _tokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    present = TOKENIZER_CONFIG in config.get(FILES, {})
    return settings.json_file(config, TOKENIZER_CONFIG) if present else {}


def _token(described: Any) -> str | None:
    content = described.get("content") if isinstance(described, Mapping) else described
    return content if isinstance(content, str) else None


def _max_length(config: Mapping[str, Any], special: int) -> int:
    positions = settings.parse(config, 2)
    limit = getattr(positions, "max_position_embeddings", _DEFAULT_MAX_LENGTH)
    if settings.recipe(config).counts_padding:
        limit -= positions.pad_token_id + 1
    key, options = "model_max_length", _tokenizer_config(config)
    declared = config_keys.get(options, key, config_keys.number(1), limit, file=TOKENIZER_CONFIG)
    length = int(min(declared, limit, pooling.max_length(config)))
    if length <= special:
        raise config_keys.error(key, length, "room for a text", file=TOKENIZER_CONFIG)
    return length


def _load(text: str) -> Tokenizer:
    return _contained(lambda: Tokenizer.from_str(text))


def _contained(call: Callable[[], T]) -> T:
    try:
        return call()
    except BaseException as error:  # the library's panics are no Exceptions
        panic = type(error).__name__ == "PanicException"
        if isinstance(error, DataError) or not (isinstance(error, Exception) or panic):
            raise
        raise DataError(
            f"{TOKENIZER} cannot be used: {' '.join(str(error).split())[:200]}",
            thing=TOKENIZER,
            remedy="save the tokenizer again with a current version of transformers",
        ) from error


def _unknown_id(tokenizer: Tokenizer, described: Mapping[str, Any]) -> int | None:
    model = described.get("model", {})
    row, token = model.get("unk_id"), model.get("unk_token")
    if isinstance(row, int):
        return row
    row_of_token: int | None = tokenizer.token_to_id(token) if isinstance(token, str) else None
    return row_of_token
