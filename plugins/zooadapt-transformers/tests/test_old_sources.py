"""Sources whose side files are as old or bare repositories have them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from zooadapt_transformers import TextFamily, VisionFamily

from zooadapt.errors import DataError
from zooadapt.family import FILES
from zooadapt.zoo.sources import open_source

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_NETWORKS = {
    "vit": _SMALL | {"image_size": 28, "patch_size": 14},
    "deit": _SMALL | {"image_size": 28, "patch_size": 14},
    "dinov2": _SMALL | {"image_size": 28, "patch_size": 14},
    "dinov2_with_registers": _SMALL | {"image_size": 28, "patch_size": 14},
    "convnext": {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]},
    "convnextv2": {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]},
}
TEXTS = ["Who was Galileo?", "naïve café 世界", "", "unaffable x9"]


@pytest.mark.parametrize("kind", _NETWORKS)
def test_the_model_type_gives_the_image_processor(kind: str, tmp_path: Path) -> None:
    size = {"size": {"shortest_edge": 64}} if kind.startswith("conv") else {"size": 28}
    if kind.startswith(("dino", "deit")):
        size = {"size": 32, "crop_size": {"height": 28, "width": 28}}
    old = size | {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    config = {"model_type": kind, **_NETWORKS[kind]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    # Stock transformers has no default for DINOv2 with registers, whose files are DINOv2's.
    alike = {"model_type": kind.removesuffix("_with_registers")}
    (tmp_path / "config.json").write_text(json.dumps(config | alike))
    stock = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    config |= {FILES: {"preprocessor_config.json": json.dumps(old)}}
    ours = VisionFamily().preprocessor(config)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = stock(image, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(ours(image, rng=None)["pixel_values"], expected)
    written = VisionFamily().native_config(config, ["a", "b"])[FILES]
    named = json.loads(written["preprocessor_config.json"])["image_processor_type"]
    assert named == type(stock).__name__.removesuffix("Fast")


def vocabulary(folder: Path, *, capitals: bool) -> str:
    letters = [*"abcdefghijklmnopqrstuvwxyz?.,9", "who", "was", "##e", "##o", "cafe", "café", "世"]
    letters += ["un", "##aff", "##able", *(["W", "Who", "##B"] if capitals else [])]
    text = "\n".join([*_SPECIAL, *letters, *(f"##{c}" for c in "abcdfghijklmnpqrstuvwxyz")]) + "\n"
    (folder / "vocab.txt").write_text(text, "utf-8")
    return text


@pytest.mark.parametrize(
    ("capitals", "options"),
    [
        (False, {}),
        (False, {"do_lower_case": True, "strip_accents": False}),
        (True, {"do_lower_case": False, "tokenize_chinese_chars": False}),
        (True, {"do_lower_case": True, "unk_token": {"content": "[UNK]"}}),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra"])
def test_a_vocabulary_alone_tokenizes_as_in_stock_transformers(
    kind: str, capitals: bool, options: dict, tmp_path: Path
) -> None:
    text = vocabulary(tmp_path, capitals=capitals)
    shown = {key: value for key, value in options.items() if key != "unk_token"}
    stock = transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt"), **shown)
    config = {"model_type": kind, "vocab_size": 80}
    config |= {FILES: {"vocab.txt": text, "tokenizer_config.json": json.dumps(options)}}
    ours = TextFamily().preprocessor(config)
    for one in TEXTS:
        assert ours(one, rng=None)["input_ids"].tolist() == stock(one)["input_ids"], one
    files = TextFamily().native_config(config, ["a", "b"])[FILES]
    assert set(files) == {"tokenizer.json", "tokenizer_config.json"}
    again = TextFamily().preprocessor(config | {FILES: files})
    assert again.config() == ours.config()


def test_a_vocabulary_with_capitals_is_cased_by_default(tmp_path: Path) -> None:
    text = vocabulary(tmp_path, capitals=True)
    config = {"model_type": "bert", "vocab_size": 80, FILES: {"vocab.txt": text}}
    ids = TextFamily().preprocessor(config)("Who", rng=None)["input_ids"].tolist()
    assert [text.split("\n")[row] for row in ids] == ["[CLS]", "Who", "[SEP]"]


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("bert", "[PAD]\n[UNK]\na\n", r"vocab.txt has no line '\[CLS\]'"),
        ("bert", "", r"vocab.txt has no line '\[UNK\]'"),
        ("roberta", "\n".join(_SPECIAL), "has no tokenizer.json"),
    ],
)
def test_a_vocabulary_that_cannot_be_word_pieces_is_refused(
    kind: str, text: str, words: str
) -> None:
    config = {"model_type": kind, "vocab_size": 80, "pad_token_id": 1, FILES: {"vocab.txt": text}}
    with pytest.raises(DataError, match=words):
        TextFamily().preprocessor(config)


def test_the_vocabulary_is_among_the_files_of_a_source(tmp_path: Path) -> None:
    text = vocabulary(tmp_path, capitals=False)
    network = transformers.BertConfig(vocab_size=80, intermediate_size=24, **_SMALL)
    transformers.BertModel(network).save_pretrained(tmp_path)
    source = open_source(str(tmp_path))
    assert source.config[FILES] == {"vocab.txt": text}
    assert source.family.preprocessor(source.config)("who", rng=None)["input_ids"].numel() == 3


def test_a_tokenizer_of_too_many_values_is_not_parsed() -> None:
    text = '{"model": [' + ",".join(["[]"] * 3_000_100) + "]}"
    config = {"model_type": "bert", "vocab_size": 80, FILES: {"tokenizer.json": text}}
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="tokenizer.json holds 3,000,100 values or more"):
            TextFamily().preprocessor(config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
