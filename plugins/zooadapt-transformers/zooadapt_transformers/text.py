"""Texts to token ids, by the source's own tokenizer: data for a Rust library, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from zooadapt.errors import DataError, UsageError
from zooadapt.family import FILES, Activations, Sample, TextPair, config_keys
from zooadapt_transformers import pooling, settings, wordpiece

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

_TOKENS = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token")
_TOKENS += ("unk_token",)
_SAFE_PATTERNS = (" {2,}",)
"""Regular expressions that published sentencepiece tokenizers use; any other could take forever on
a text made for it, since the library's engine backtracks."""
_DEFAULT_MAX_LENGTH = 512


class TextPreprocessor:
    """Token ids of a text, `input_ids` and `attention_mask`, both `(T,)`, special tokens included,
    and `token_type_ids`, `(T,)`, where the network tells the two texts of a pair apart by them.

    A pair is encoded as the tokenizer encodes pairs. A text is cut to `max_length` tokens: what the
    tokenizer's config says, at most what the network has positions for. A text without any token is
    one padding token.
    """

    min_side = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Raises: DataError when a file of the tokenizer is missing or not usable."""
        text = _tokenizer_text(config)
        described = settings.parsed_json(text, TOKENIZER)
        _refuse_patterns(described)
        self._tokenizer = _load(text)
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
        texts = [_texts(raw) if isinstance(raw, TextPair) else _clean(raw) for raw in raws]
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

    def config(self) -> dict[str, Any]:
        return {"tokenizer_sha256": self._sha256, "max_length": self.max_length}

    def unknowns(self, raw: str) -> tuple[int, int]:
        """How many tokens of a text are the unknown one, and how many there are, special tokens
        apart."""
        encoding = self._encode(raw)
        parts = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        ids = [row for row, special in parts if not special]
        return ids.count(self._unknown), len(ids)

    def _encode(self, raw: str) -> Any:
        texts = _texts(raw)
        return _contained(lambda: self._tokenizer.encode(*texts))

    def _sample(self, encoding: Any) -> Sample:
        ids = torch.tensor(encoding.ids or [self._padding])
        types = torch.tensor(encoding.type_ids or [0])
        sample = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
        return {name: sample[name] for name in self.inputs}


def _texts(raw: str) -> tuple[str, ...]:
    """A text alone, or the two of a pair."""
    return tuple(map(_clean, (raw.first, raw.second) if isinstance(raw, TextPair) else (raw,)))


def _clean(text: str) -> str:
    """A text without halves of surrogate pairs."""
    return text.encode("utf-8", errors="replace").decode()


def with_length(config: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The config of the same source that reads texts up to so many tokens.

    Raises: UsageError when the network has no positions for them.
    """
    files = dict(config.get(FILES, {}))
    files[TOKENIZER_CONFIG] = json.dumps(_tokenizer_config(config) | {"model_max_length": length})
    if pooling.ENCODER in files:
        encoder = settings.json_file(config, pooling.ENCODER)
        files[pooling.ENCODER] = json.dumps(encoder | {"max_seq_length": length})
    longer = {**config, FILES: files}
    most = max_length(longer)
    if most < length:
        raise UsageError(
            f"the network has positions for {most} tokens, not for {length}",
            thing="--max-length",
            remedy=f"--max-length {most}",
        )
    return longer


def max_length(config: Mapping[str, Any]) -> int:
    """The most tokens of a text, special ones included."""
    return TextPreprocessor(config).max_length


def width(config: Mapping[str, Any]) -> int:
    """Dimensions of a token's state."""
    return int(settings.parse(config, 2).hidden_size)


def files(config: Mapping[str, Any]) -> dict[str, str]:
    """The tokenizer as an export writes it. Of its config only the special tokens' names and the
    length are kept: a chat template is a program, and a path is somebody else's."""
    given, reads = _tokenizer_config(config), TextPreprocessor(config)
    tokens = {key: _token(given[key]) for key in _TOKENS if key in given}
    kept = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": reads.max_length,
        "model_input_names": reads.inputs,
        **{key: token for key, token in tokens.items() if token is not None},
    }
    return {
        TOKENIZER: _tokenizer_text(config),
        TOKENIZER_CONFIG: json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
    }


def _tokenizer_text(config: Mapping[str, Any]) -> str:
    """The source's `tokenizer.json`, or what its vocabulary alone makes of one."""
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


def _contained(call: Any) -> Any:
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


def _refuse_patterns(part: Any) -> None:
    if isinstance(part, Mapping):
        pattern = part.get("Regex")
        if isinstance(pattern, str) and pattern not in _SAFE_PATTERNS:
            raise DataError(
                f"{TOKENIZER} uses the regular expression {pattern[:60]!r}, which is not among "
                "those known to be safe",
                thing=TOKENIZER,
                remedy="use a model with a WordPiece, byte-level or sentencepiece tokenizer",
            )
        for inner in (part.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")):
            _refuse_patterns(inner)
        for key in ("normalizers", "pretokenizers", "decoders", "pattern"):
            _refuse_patterns(part.get(key))
    elif isinstance(part, list):
        for inner in part:
            _refuse_patterns(inner)


def _unknown_id(tokenizer: Tokenizer, described: Mapping[str, Any]) -> int | None:
    model = described.get("model", {})
    if isinstance(model.get("unk_id"), int):
        return model["unk_id"]
    token = model.get("unk_token")
    return tokenizer.token_to_id(token) if isinstance(token, str) else None
