"""BERT's tokenizer from its vocabulary alone, for repositories older than `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from zooadapt.errors import DataError

VOCABULARY = "vocab.txt"
MODEL_TYPES = frozenset({"bert", "distilbert", "electra"})
"""Kinds whose `vocab.txt` is a list of word pieces."""
_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def tokenizer_json(vocabulary: str, options: Mapping[str, Any]) -> str:
    """A `tokenizer.json` of the word pieces of a `vocab.txt`, one a line, in order of their rows.

    options: a `tokenizer_config.json`, or an empty mapping. Defaults are those of transformers,
    except that a vocabulary with capital letters is cased.
    Raises: DataError for a vocabulary without the special tokens of a text.
    """
    tokens = [line.removesuffix("\r") for line in vocabulary.split("\n")]
    rows = {token: row for row, token in enumerate(tokens) if token}
    special = {key: _content(options.get(key)) or name for key, name in _SPECIAL.items()}
    for key in ("unk_token", "cls_token", "sep_token"):
        if special[key] not in rows:
            raise DataError(
                f"{VOCABULARY} has no line '{special[key]}', which the network's input needs",
                thing=VOCABULARY,
                remedy="save the tokenizer again with a current version of transformers",
            )
    cased = any(token != token.lower() for token in rows.keys() - set(special.values()))
    lowercase = options.get("do_lower_case")
    chinese = options.get("tokenize_chinese_chars")
    accents = options.get("strip_accents")
    tokenizer = Tokenizer(models.WordPiece(rows, unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=chinese if isinstance(chinese, bool) else True,
        strip_accents=accents if isinstance(accents, bool) else None,
        lowercase=lowercase if isinstance(lowercase, bool) else not cased,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(token, rows[token]) for token in (first, last)],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True) for token in special.values() if token in rows]
    )
    return tokenizer.to_str()


def _content(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, Mapping) else token
    return content if isinstance(content, str) and content else None
