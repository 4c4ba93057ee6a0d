"""Small configs with their files, for the checks. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import ascii_lowercase, digits
from typing import Any

from zooadapt.family import FILES
from zooadapt_transformers.pooling import Pool, with_pool

_ENCODER = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
_TEXT: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "mpnet": _ENCODER | {"pad_token_id": 1},
    "deberta-v2": _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "albert": _ENCODER | {"embedding_size": 8},
    "modernbert": _ENCODER | {"local_attention": 6, "global_attn_every_n_layers": 2},
    "nomic_bert": _ENCODER,
}
_IMAGE: dict[str, dict[str, Any]] = {
    "vit": _ENCODER | {"image_size": 28, "patch_size": 14},
    "dinov2": _ENCODER | {"image_size": 28, "patch_size": 14, "mlp_ratio": 2},
    "convnext": {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "drop_path_rate": 0.3},
}
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def texts() -> dict[str, Mapping[str, Any]]:
    """Configs by model type, with a tokenizer whose tokens are letters and digits."""
    tokens = [*_SPECIAL, *(mark + c for mark in ("", "##") for c in ascii_lowercase + digits)]
    shape = {"vocab_size": len(tokens), "max_position_embeddings": 32, "pad_token_id": 0}
    files = {"tokenizer.json": json.dumps(_wordpiece(tokens))}
    examples = {
        kind: {"model_type": kind, **shape, **sizes, FILES: files} for kind, sizes in _TEXT.items()
    }
    return examples | {"sentence": with_pool(examples["bert"], Pool(("mean",), normalize=True))}


def images() -> dict[str, Mapping[str, Any]]:
    """Configs by model type, each with its image processor."""
    processors: dict[str, dict[str, Any]] = {
        "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 28, "width": 28}},
        "dinov2": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 32},
                   "do_center_crop": True, "crop_size": {"height": 28, "width": 28}},
        "convnext": {"image_processor_type": "ConvNextImageProcessor",
                     "size": {"shortest_edge": 64}},
    }  # fmt: skip
    return {
        kind: {"model_type": kind, **sizes, FILES: {
            "preprocessor_config.json": json.dumps({**processors[kind], "do_normalize": True})}}
        for kind, sizes in _IMAGE.items()
    }  # fmt: skip


def _wordpiece(tokens: list[str]) -> dict[str, Any]:
    """A `tokenizer.json`, as the library `tokenizers` writes it."""
    rows = {token: row for row, token in enumerate(tokens)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": rows[token], "content": token, "special": True, **flags}
                         for token in _SPECIAL],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", rows["[SEP]"]],
                           "cls": ["[CLS]", rows["[CLS]"]]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": rows},
    }  # fmt: skip
