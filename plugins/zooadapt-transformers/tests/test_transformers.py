"""transformers' backbones: stages, weights of every source, exports in stock transformers."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from zooadapt_transformers import TextFamily, VisionFamily, pooling

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError, UsageError
from zooadapt.family import FILES, TextPair
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.inference import Settings as UseSettings
from zooadapt.workflows.inference import predict

_ENCODER = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
_TEXT = _ENCODER | {"vocab_size": 120, "max_position_embeddings": 24, "pad_token_id": 0}
_IMAGE = _ENCODER | {"image_size": 28, "patch_size": 14}
_CONV = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "drop_path_rate": 0.3}
TEXT = {
    "bert": _TEXT,
    "roberta": _TEXT | {"pad_token_id": 1},
    "xlm-roberta": _TEXT | {"pad_token_id": 1},
    "camembert": _TEXT | {"pad_token_id": 1},
    "distilbert": {
        "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "vocab_size": 120,
        "max_position_embeddings": 24, "pad_token_id": 0,
    },
    "electra": _TEXT | {"embedding_size": 8},
    "mpnet": _TEXT | {"pad_token_id": 1},
    "deberta-v2": _TEXT | {
        "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm",
        "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
    },
    "albert": _TEXT | {"embedding_size": 8, "inner_group_num": 1},
    "modernbert": _TEXT | {
        "local_attention": 6, "global_attn_every_n_layers": 2, "global_rope_theta": 5e4,
    },
    "nomic_bert": _TEXT,
}  # fmt: skip
IMAGE = {
    "vit": _IMAGE,
    "deit": _IMAGE,
    "dinov2": _IMAGE | {"mlp_ratio": 2},
    "dinov2_with_registers": _IMAGE | {"mlp_ratio": 2, "num_register_tokens": 2},
    "convnext": _CONV,
    "convnextv2": _CONV,
}
SENTENCES = [
    "who was galileo", "what is the capital of france", "a", "", "when did the war end",
    "how many moons does jupiter have and who found the first of them in which year and where",
]  # fmt: skip


def processor_json(kind: str) -> dict:
    if kind.startswith("conv"):
        own = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 64}}
    elif kind.startswith("dinov2"):
        own = {
            "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 32},
            "do_center_crop": True, "crop_size": {"height": 28, "width": 28},
        }  # fmt: skip
    else:
        own = {"feature_extractor_type": "ViTFeatureExtractor", "size": 28}
    return own | {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    """A WordPiece tokenizer trained on the sentences, with BERT's special tokens."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=110, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    return tokenizer.to_str()


TOKENIZER_CONFIG = {
    "tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 20,
    "cls_token": "[CLS]", "sep_token": {"content": "[SEP]", "__type": "AddedToken"},
    "unk_token": "[UNK]", "mask_token": "[MASK]", "vocab_file": "/etc/passwd",
    "chat_template": "{{ ''.__class__ }}", "padding_side": "left",
}  # fmt: skip


@pytest.fixture
def source(tokenizer_json):
    """A config as the core hands it to a family, by model type, with changes to config.json."""

    def make(kind: str, **changes) -> dict:
        if kind in TEXT:
            pad = {"pad_token": "[MASK]" if TEXT[kind]["pad_token_id"] else "[PAD]"}
            files = {
                "tokenizer.json": tokenizer_json,
                "tokenizer_config.json": json.dumps(TOKENIZER_CONFIG | pad),
            }
        else:
            files = {"preprocessor_config.json": json.dumps(processor_json(kind))}
        return {"model_type": kind, **(TEXT | IMAGE)[kind], FILES: files, **changes}

    return make


def family_of(config):
    claiming = [f for f in (TextFamily(), VisionFamily()) if f.claims(config)]
    assert len(claiming) == 1
    return claiming[0]


def backbone_of(config, num_classes=3) -> StagedBackbone:
    torch.manual_seed(0)
    family = family_of(config)
    return StagedBackbone(family, family.build(config, num_classes))


def batch(config, raws=None):
    family = family_of(config)
    preprocessor = family.preprocessor(config)
    if raws is None:
        raws = SENTENCES if family.modality == "text" else images()
    return preprocessor.collate([preprocessor(raw, rng=None) for raw in raws])


def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((90, 70), (64, 120), (100, 100))
    ]


every_kind = pytest.mark.parametrize("kind", [*TEXT, *IMAGE])
every_text = pytest.mark.parametrize("kind", TEXT)


@every_kind
@torch.no_grad()
def test_the_stages_are_the_network_from_every_freeze_point(source, kind):
    backbone, activations = backbone_of(source(kind)), batch(source(kind))
    expected = backbone.net(**activations).logits
    assert len(expected.unique()) > 3 and expected.isfinite().all()
    assert [s.name for s in backbone.stages][-1] == "pooling"
    assert backbone.depth == 3 if kind == "albert" else backbone.depth >= 5
    for freeze_at in range(backbone.depth + 1):
        assert torch.equal(
            backbone.logits(backbone.run(activations, stop=freeze_at), start=freeze_at), expected
        )


@every_kind
def test_the_stages_are_the_network_in_training(source, kind):
    backbone, activations = backbone_of(source(kind)), batch(source(kind))
    backbone.train()
    torch.manual_seed(1)
    expected = backbone.net(**activations).logits
    torch.manual_seed(1)
    logits = backbone.logits(activations)
    assert torch.equal(logits, expected)
    logits.sum().backward()
    reached = {n for n, p in backbone.net.named_parameters() if p.grad is not None}
    unreached = {n for n, _ in backbone.net.named_parameters()} - reached
    assert all(name.endswith("mask_token") for name in unreached)


@every_text
@torch.no_grad()
def test_padding_changes_nothing(source, kind):
    backbone, activations = backbone_of(source(kind)), batch(source(kind))
    expected = backbone.logits(activations)
    for freeze_at in range(backbone.depth):
        longer = {
            name: torch.nn.functional.pad(t, (0, 0) * (t.ndim - 2) + (0, 9))
            for name, t in backbone.run(activations, stop=freeze_at).items()
        }
        assert torch.equal(backbone.logits(longer, start=freeze_at), expected)
    alone = torch.cat([backbone.logits(batch(source(kind), [text])) for text in SENTENCES])
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-6)


@every_kind
@torch.no_grad()
def test_an_export_loads_in_stock_transformers_with_equal_logits(source, kind, tmp_path):
    config = source(kind, num_labels=7)
    family, backbone, activations = family_of(config), backbone_of(config), batch(config)
    names = ["no", "yes", "müde"]
    written = family.native_config(config, names)
    files = written.pop(FILES)
    assert set(files) <= set(family.fetches)
    (tmp_path / "config.json").write_text(json.dumps(written | {"zooadapt": {"format": 1}}))
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    save_file(backbone.net.state_dict(), tmp_path / "model.safetensors", {"format": "pt"})

    if family.modality == "text":
        stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
        inputs = tokenizer(SENTENCES, padding=True, truncation=True, return_tensors="pt")
        assert torch.equal(inputs["attention_mask"], activations["attention_mask"])
        assert torch.equal(inputs["input_ids"] * inputs["attention_mask"], activations["input_ids"])
    else:
        stock = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
        inputs = processor(images(), return_tensors="pt")
        assert torch.equal(inputs["pixel_values"], activations["pixel_values"])
    assert torch.equal(stock(**inputs).logits, backbone.logits(activations))
    assert stock.config.id2label == dict(enumerate(names))

    again = json.loads((tmp_path / "config.json").read_text()) | {FILES: files}
    assert family.classes(again) == tuple(names)
    assert family.preprocessor(again).config() == family.preprocessor(config).config()
    assert family.native_config(again, names) == written | {FILES: files}
    state = load_file(tmp_path / "model.safetensors")
    converted = family.convert(state, again)
    assert set(converted) == set(state)
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "nomic_bert"])
@torch.no_grad()
def test_pairs_are_encoded_as_stock_transformers_encodes_them(source, kind, tmp_path):
    config = source(kind)
    described = json.loads(config[FILES]["tokenizer.json"])
    described["post_processor"] = json.loads(tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 3), ("[SEP]", 4)],
    ).__getstate__())  # fmt: skip
    config[FILES]["tokenizer.json"] = json.dumps(described)
    pairs = [TextPair(*pair) for pair in zip(SENTENCES, SENTENCES[::-1], strict=True)]
    backbone, activations = backbone_of(config), batch(config, pairs)
    joined = batch(config, [str(pair) for pair in pairs])
    for name, text in TextFamily().native_config(config, ["a", "b", "c"])[FILES].items():
        (tmp_path / name).write_text(text, "utf-8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(SENTENCES, SENTENCES[::-1], padding=True, truncation=True,
                      return_tensors="pt")  # fmt: skip
    assert inputs.keys() == activations.keys()
    assert ("token_type_ids" in activations) == (kind != "distilbert")
    assert torch.equal(backbone.net(**inputs).logits, backbone.logits(activations))
    assert not torch.equal(activations["input_ids"], joined["input_ids"])
    if "token_type_ids" in activations:
        assert activations["token_type_ids"].sum(1).min() > 0
        first_alone = activations | {"token_type_ids": 0 * activations["input_ids"]}
        assert not torch.equal(backbone.logits(first_alone), backbone.logits(activations))
    alone = torch.cat([backbone.logits(batch(config, [pair])) for pair in pairs])
    torch.testing.assert_close(alone, backbone.logits(activations), rtol=0, atol=1e-6)
    prepare = TextFamily().preprocessor(config)
    many = prepare.collate(prepare.many(pairs))
    assert all(torch.equal(many[name], tensor) for name, tensor in activations.items())
    whole = TextFamily().preprocessor(config | {"max_position_embeddings": 500, FILES: config[FILES]
        | {"tokenizer_config.json": json.dumps({"model_max_length": 400})}})  # fmt: skip
    lengths = [prepare.length(pair) for pair in pairs]
    assert lengths == [len(whole(pair, rng=None)["input_ids"]) for pair in pairs]
    assert max(lengths) > prepare.max_length


def write_source(config, folder):
    """A folder with a network of random weights."""
    backbone, files = backbone_of(config), config.pop(FILES)
    folder.mkdir()
    for name, text in (files | {"config.json": json.dumps(config)}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    state = family_of(config).native_state(backbone.net.state_dict(), config | {FILES: files})
    state = {name: tensor for name, tensor in state.items() if "/" not in name}
    save_file(state, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("kind", ["bert", "sentence"])
def test_several_labels_are_known_to_stock_transformers(
    source, kind, tmp_path, monkeypatch, capsys
):
    """And a model of transformers that says so is read as one."""
    monkeypatch.chdir(tmp_path)
    config = source("bert")
    if kind == "sentence":
        config = pooling.with_pool(config, pooling.Pool(("mean",)))
    write_source(config, tmp_path / "source")
    sentences = [sentence for sentence in SENTENCES if sentence.isascii() and "," not in sentence]
    rows = [
        f"{sentence} {k},{('a', 'b', 'a|b', '')[k % 4]}"
        for k, sentence in enumerate(sentences * 12)
        if sentence
    ]
    Path("train.csv").write_text("text,label\n" + "\n".join(rows))
    adapt(Request(source="source", data="train.csv", out=Path("out"), strategy="probe",
                  precision="fp32"), Progress())  # fmt: skip
    Path("input.txt").write_text("a text\n")
    (ours,) = predict("out", ["input.txt"], UseSettings(precision="fp32"), Progress())
    card = Path("out/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    capsys.readouterr()
    exec(compile(code.replace("PATH_OF_THIS_FOLDER", "out"), "README.md", "exec"), {})
    answer = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    listed = answer[0] if isinstance(answer[0], list) else answer
    scores = {one["label"]: one["score"] for one in listed}
    assert scores == pytest.approx(dict(ours.probabilities), abs=1e-5)
    exported = json.loads(Path("out/config.json").read_text())
    assert exported["problem_type"] == "multi_label_classification"
    del exported["zooadapt"]
    Path("out/config.json").write_text(json.dumps(exported))
    (read,) = predict("out", ["input.txt"], UseSettings(precision="fp32"), Progress())
    assert dict(read.probabilities) == pytest.approx(dict(ours.probabilities), abs=1e-5)
    assert read.labels == tuple(name for name, p in read.probabilities.items() if p >= 0.5)


@pytest.mark.parametrize("kind", ["bert", "sentence", "vit"])
def test_the_code_on_a_card_runs_in_stock_transformers(source, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config, data = source("bert" if kind == "sentence" else kind), tmp_path / "data"
    if kind == "sentence":
        config = pooling.with_pool(config, pooling.Pool(("mean",)))
    write_source(config, tmp_path / "source")
    if kind != "vit":
        data.mkdir()
        rows = [f"{sentence},{k % 2}" for k, sentence in enumerate(SENTENCES * 4) if sentence]
        (data / "train.csv").write_text("text,label\n" + "\n".join(rows))
        (tmp_path / "input.txt").write_text("a text\n")
    else:
        for k, image in enumerate(images() * 8):
            (data / str(k % 2)).mkdir(parents=True, exist_ok=True)
            image.rotate(k).save(data / str(k % 2) / f"{k}.png")
        images()[0].save("photo.jpg")
    adapt(Request(source="source", data="data", out=Path("out"), strategy="probe",
                  precision="fp32"), Progress())  # fmt: skip
    card = Path("out/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    capsys.readouterr()
    exec(compile(code.replace("PATH_OF_THIS_FOLDER", "out"), "README.md", "exec"), {})
    answer = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])[0]
    name = "photo.jpg" if kind == "vit" else "input.txt"
    (ours,) = predict("out", [name], UseSettings(precision="fp32"), Progress())
    assert answer["label"] == ours.label
    assert answer["score"] == pytest.approx(ours.probability, abs=1e-5)


@every_kind
@torch.no_grad()
def test_a_headless_checkpoint_of_transformers_is_a_source(source, kind, tmp_path):
    config = source(kind)
    torch.manual_seed(5)
    plain = {key: value for key, value in config.items() if key != FILES}
    encoder = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**plain)).eval()
    encoder.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    backbone = backbone_of(config)
    converted = family_of(config).convert(state, config)
    head = {f"{backbone.head_path}.weight", f"{backbone.head_path}.bias"}
    assert set(converted) == set(backbone.net.state_dict()) - head
    backbone.net.load_state_dict(converted, strict=False)

    # Layers before the head that an encoder does not have start as the identity.
    activations = batch(config)
    theirs = encoder(**activations)
    first = theirs.last_hidden_state[:, 0]
    roberta, gelu = first.tanh(), torch.nn.functional.gelu(first)
    expected = {
        "roberta": roberta, "xlm-roberta": roberta, "camembert": roberta,
        "distilbert": first.relu(), "electra": gelu,
        "mpnet": roberta, "deberta-v2": gelu, "nomic_bert": roberta,
        "modernbert": torch.nn.functional.layer_norm(gelu, gelu.shape[1:]),
        "vit": first, "deit": first,
    }.get(kind, theirs.get("pooler_output"))  # fmt: skip
    features = backbone.run(activations)["features"]
    torch.testing.assert_close(features[:, : expected.shape[1]], expected, rtol=0, atol=1e-6)


def test_tensors_of_other_heads_and_old_names_are_read(source):
    config = source("bert")
    backbone = backbone_of(config)
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor
        for name, tensor in backbone.net.state_dict().items()
    }
    state |= {"cls.predictions.bias": torch.zeros(120), "classifier.weight": torch.ones(9, 16)}
    state["bert.embeddings.position_ids"] = torch.arange(24)[None]
    converted = TextFamily().convert(state, config)
    assert set(converted) - set(backbone.net.state_dict()) == set()
    assert converted["classifier.weight"].shape == (9, 16)
    pointers = {tensor.data_ptr() for tensor in state.values()}
    backbone = [t for n, t in converted.items() if n.startswith("bert.")]
    assert all(tensor.data_ptr() in pointers for tensor in backbone)


def test_a_tensor_of_another_shape_keeps_it(source):
    config = source("bert")
    state = backbone_of(config).net.state_dict()
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    state[name] = torch.zeros(5, 16)
    assert TextFamily().convert(state, config)[name].shape == (5, 16)


@every_text
@torch.no_grad()
def test_a_text_is_truncated_to_the_positions(source, kind):
    config = source(kind)
    config[FILES] = config[FILES] | {"tokenizer_config.json": "{}"}
    preprocessor = TextFamily().preprocessor(config)
    counts = {"roberta", "xlm-roberta", "camembert", "mpnet"}
    counted = TEXT[kind]["pad_token_id"] + 1 if kind in counts else 0
    assert preprocessor.max_length == 24 - counted
    activations = batch(config, ["war " * 400])
    assert activations["input_ids"].shape == (1, 24 - counted)
    assert backbone_of(config).logits(activations).isfinite().all()


def test_unknown_tokens_are_counted_without_the_special_ones(source):
    preprocessor = TextFamily().preprocessor(source("bert"))
    assert preprocessor.unknowns("who was galileo")[0] == 0
    assert preprocessor.unknowns("\u4e16 \u4e16") == (2, 2)
    assert preprocessor.unknowns("") == (0, 0)
    assert preprocessor("\ud800", rng=None)["input_ids"].shape[0] == 3


def test_a_tokenizer_without_special_tokens_takes_an_empty_text(source, tokenizer_json):
    config = source("roberta")
    bare = json.loads(tokenizer_json) | {"post_processor": None}
    config[FILES] = config[FILES] | {"tokenizer.json": json.dumps(bare)}
    activations = batch(config, ["", "war"])
    assert activations["attention_mask"].sum(dim=1)[0] == 1
    assert backbone_of(config).logits(activations).isfinite().all()


def test_an_export_has_no_path_and_no_program(source):
    written = TextFamily().native_config(source("bert"), ["a", "b"])[FILES]
    options = json.loads(written["tokenizer_config.json"])
    assert options == {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 20, "pad_token": "[PAD]",
        "model_input_names": ["input_ids", "attention_mask", "token_type_ids"],
        "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]",
    }  # fmt: skip


def test_keys_that_choose_code_never_reach_transformers(source):
    config = source("bert", attn_implementation="kernels-community/x", _name_or_path="/etc")
    config["_attn_implementation_internal"] = "kernels-community/x"
    net = TextFamily().build(config, 2)
    assert net.config._attn_implementation == "sdpa" and net.config._name_or_path == ""


@pytest.mark.parametrize(
    ("kind", "changes", "thing"),
    [
        ("bert", {"auto_map": {"AutoModel": "x--y.Z"}}, "auto_map"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ("bert", {"hidden_size": "16"}, "config.json"),
        ("bert", {"hidden_size": 1 << 40}, "hidden_size"),
        ("bert", {"hidden_size": 15}, "config.json"),
        ("bert", {"hidden_size": 1 << 20, "num_hidden_layers": 1000}, "config.json"),
        ("bert", {"num_hidden_layers": 100_000}, "num_hidden_layers"),
        ("bert", {"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ("bert", {"hidden_act": "exec"}, "hidden_act"),
        ("bert", {"vocab_size": {"a": 1}}, "vocab_size"),
        ("distilbert", {"activation": "exec"}, "activation"),
        ("vit", {"patch_size": 0}, "config.json"),
        ("convnext", {"depths": [1] * 5000}, "depths"),
        ("mpnet", {"pad_token_id": 0}, "pad_token_id"),
        ("deberta-v2", {"conv_kernel_size": 3}, "conv_kernel_size"),
        ("modernbert", {"rope_parameters": {"full_attention": {"x": [1e99]}}}, "rope_parameters"),
        ("nobody", {}, "model_type"),
    ],
)
def test_a_wrong_config_is_one_clear_error(source, kind, changes, thing):
    config = source("bert") | {"model_type": "nobody"} if kind == "nobody" else source(kind)
    with pytest.raises(DataError) as caught:
        TextFamily().build(config | changes, 2)
    assert caught.value.thing.startswith(thing) and "\n" not in str(caught.value)


def _with_regex(text: str) -> str:
    normalizer = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    inner = {"type": "Sequence", "normalizers": [normalizer]}
    return json.dumps(json.loads(text) | {"normalizer": inner})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "{", "not valid JSON"),
        ("tokenizer.json", "{}", "cannot be used"),
        ("tokenizer.json", _with_regex, "regular expression"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["x.Y", null]}}', "auto_map"),
        ("tokenizer_config.json", '{"model_max_length": 2}', "model_max_length"),
        ("tokenizer_config.json", '{"model_max_length": NaN}', "model_max_length"),
        ("tokenizer_config.json", "[]", "not a JSON object"),
    ],
)
def test_a_wrong_tokenizer_is_one_clear_error(source, tokenizer_json, name, text, message):
    config = source("bert")
    files = dict(config[FILES])
    del files[name]
    if text is not None:
        files[name] = text(tokenizer_json) if callable(text) else text
    with pytest.raises(DataError, match=message) as caught:
        TextFamily().preprocessor(config | {FILES: files})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_extractor_type": "Evil"}, "image_processor_type"),
        ({"auto_map": {"AutoImageProcessor": "x.Y"}}, "auto_map"),
        ({"size": 32}, "takes 28 x 28"),
        ({"size": 10**6}, "size"),
        ({"image_mean": ["a"]}, "image_mean"),
        ({"image_mean": [float("inf")] * 3}, "image_mean"),
        ({"do_resize": 1}, "do_resize"),
        ({"rescale_factor": float("inf")}, "rescale_factor"),
    ],
)
def test_a_wrong_image_processor_is_one_clear_error(source, changes, message):
    config = source("vit")
    config[FILES] = {"preprocessor_config.json": json.dumps(processor_json("vit") | changes)}
    with pytest.raises(DataError, match=message):
        VisionFamily().preprocessor(config)


def test_augmentations_are_a_function_of_image_and_generator(source):
    image = images()[0]
    for augment in ("crop", "flip"):
        preprocessor = VisionFamily().preprocessor(source("vit"), augment=augment)
        same = [preprocessor(image, rng=np.random.default_rng(3))["pixel_values"] for _ in "ab"]
        other = preprocessor(image, rng=np.random.default_rng(4))["pixel_values"]
        plain = preprocessor(image, rng=None)["pixel_values"]
        assert torch.equal(*same) and not torch.equal(same[0], other)
        assert not torch.equal(same[0], plain) and same[0].shape == plain.shape


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"1": "dog", "0": "cat"}, ("cat", "dog")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, None),
        ({"0": "cat", "2": "dog"}, None),
        ({"x": "cat"}, None),
        (None, None),
    ],
)
def test_class_names_of_a_source(source, named, expected):
    assert TextFamily().classes(source("bert", id2label=named)) == expected


def test_claims_import_neither_torch_nor_transformers():
    code = (
        "import sys, zooadapt_transformers as plugin;"
        "plugin.TextFamily().claims({'model_type': 'bert'});"
        "print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("crop", ["center", "squash"])
@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2", "convnext"])
def test_a_crop_is_what_the_stock_processor_does(kind, crop, source, tmp_path):
    family, names = VisionFamily(), ["no", "yes", "maybe"]
    config = family.with_crop(source(kind), crop=crop)
    written = family.native_config(config, names)
    for name, text in written.pop(FILES).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "config.json").write_text(json.dumps(written))
    stock = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    prepare = family.preprocessor(config)
    row = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], 3, axis=2)
    wide = Image.fromarray(np.repeat(row, 100, axis=0))
    sample = prepare(wide, rng=None)["pixel_values"]
    assert torch.equal(stock(wide, return_tensors="pt")["pixel_values"][0], sample)
    channel = sample[0] * prepare.config()["image_std"][0] + prepare.config()["image_mean"][0]
    used = float(channel.max() - channel.min())
    assert (used > 0.85) == (crop == "squash")
    assert abs(prepare.seen((400, 100)) / prepare.seen((100, 100)) - used) < 0.1
    plain = family.preprocessor(source(kind)).config()
    assert prepare.config()["image_mean"] == plain["image_mean"]
    assert prepare.config()["input_size"] == plain["input_size"]
    again = family.with_crop(config, crop=crop)
    assert family.preprocessor(again).config() == prepare.config()


def test_transformers_has_no_border_crop(source):
    with pytest.raises(UsageError, match="have no crop 'border'") as caught:
        VisionFamily().with_crop(source("vit"), crop="border")
    assert caught.value.code == 2 and "--crop squash" in caught.value.remedy


def test_augmentations_are_drawn_in_squeezed_images(source):
    row = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], 3, axis=2)
    wide, spans = Image.fromarray(np.repeat(row, 100, axis=0)), {}
    for crop in ("center", "squash"):
        config = VisionFamily().with_crop(source("vit"), crop=crop)
        prepare = VisionFamily().preprocessor(config, augment="crop")
        views = [prepare(wide, rng=np.random.default_rng(k))["pixel_values"][0] for k in range(40)]
        spans[crop] = np.mean([float(view.max() - view.min()) for view in views])
    assert spans["squash"] > 2 * spans["center"]
