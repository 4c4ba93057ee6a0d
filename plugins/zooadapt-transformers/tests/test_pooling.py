"""Sentence encoders: read where the source pools, exported so that sentence-transformers gives the
logits; where nothing is declared, what pools best is chosen."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sentence_transformers
import torch
import transformers
from safetensors.torch import load_file, save_file
from zooadapt_transformers import TextFamily, pooling

from zooadapt.backbone.pretrained import build
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError, UsageError
from zooadapt.family import FILES
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.export import write
from zooadapt.workflows.inference import Settings, evaluate, features
from zooadapt.workflows.report import Written
from zooadapt.zoo import hub
from zooadapt.zoo.sources import open_source

KINDS = {
    "bert": {"pad_token_id": 0},
    "roberta": {"pad_token_id": 0},
    "mpnet": {"pad_token_id": 1},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "electra": {"embedding_size": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "albert": {"embedding_size": 8},
    "modernbert": {"local_attention": 6, "global_attn_every_n_layers": 2},
    "nomic_bert": {},
}
WORDS = ("who", "what", "where", "is", "the", "capital", "river", "of", "france", "first", "moon")
TEXTS = ["who is the first", "where", "what is the capital of france who is the first moon of", ""]
every_mode = pytest.mark.parametrize("mode", pooling.MODES)


@pytest.fixture
def source():
    """A config as the core hands it to the family, by model type."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    rows = {token: row for row, token in enumerate(tokens)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": rows[token], "content": token, "special": True, **flags} for token in tokens[:5]
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": None, "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", rows["[SEP]"]],
            "cls": ["[CLS]", rows["[CLS]"]],
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": rows,
        },
    }  # fmt: skip
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}

    def make(kind: str, *, modes: tuple[str, ...] = (), normalize: bool = False) -> dict:
        sizes = {
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 24, "max_position_embeddings": 12, "pad_token_id": 0,
        }  # fmt: skip
        config = {"model_type": kind, "vocab_size": len(tokens), **sizes, **KINDS[kind]}
        config[FILES] = {
            "tokenizer.json": json.dumps(tokenizer),
            "tokenizer_config.json": json.dumps(named | {"model_max_length": 9}),
        }
        return pooling.with_pool(config, pooling.Pool(modes, normalize)) if modes else config

    return make


def backbone_of(config, num_classes=3) -> StagedBackbone:
    torch.manual_seed(0)
    return StagedBackbone(TextFamily(), TextFamily().build(config, num_classes))


def batch(config):
    preprocessor = TextFamily().preprocessor(config)
    return preprocessor.collate([preprocessor(text, rng=None) for text in TEXTS])


def exported(net: torch.nn.Module, config: dict, out: Path) -> Path:
    """The network written as the core writes an export, without a run."""
    native = TextFamily().native_config(config, ["no", "yes", "müde"])
    files = native.pop(FILES)
    written = Written(config=native, files=files, report={}, card="")
    state = TextFamily().native_state(net.state_dict(), config)
    write(state, out, written, overwrite=False, weight_folders=TextFamily.weight_folders)
    return out


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_sentence_transformers_gives_an_export_s_logits(source, kind, tmp_path, capfd):
    config = source(kind, modes=("mean",), normalize=kind in ("bert", "mpnet"))
    backbone = backbone_of(config)
    expected = backbone.logits(batch(config))
    assert len(expected.unique()) == expected.numel()
    torch.testing.assert_close(backbone.net(**batch(config)).logits, expected, rtol=0, atol=1e-6)

    stock = sentence_transformers.SentenceTransformer(
        str(exported(backbone.net, config, tmp_path / "m"))
    )
    theirs = torch.from_numpy(stock.encode(TEXTS))
    torch.testing.assert_close(theirs, expected, rtol=0, atol=1e-6)
    assert "MISSING" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_they_are(source, dtype, tmp_path):
    config = source("bert", modes=("mean",))
    folder = exported(backbone_of(config).net.to(dtype).float(), config, tmp_path / "full")
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    for path in half.rglob("model.safetensors"):
        save_file({n: t.to(dtype) for n, t in load_file(path).items()}, path, {"format": "pt"})
    models = [build(open_source(str(place)), task=of_classes("ab")) for place in (folder, half)]
    assert {t.dtype for t in models[1].backbone.net.state_dict().values()} == {torch.float32}
    with torch.no_grad():
        full, read = (model.backbone.run(batch(config))["features"] for model in models)
    assert torch.equal(full, read)


@every_mode
@torch.no_grad()
def test_every_pooling_equals_the_stock_one(source, mode, tmp_path):
    config = source("bert", modes=("max", mode) if mode != "max" else ("max",))
    backbone = backbone_of(config)
    stock = sentence_transformers.SentenceTransformer(
        str(exported(backbone.net, config, tmp_path / "m"))
    )
    theirs = torch.from_numpy(stock.encode(TEXTS))
    torch.testing.assert_close(theirs, backbone.logits(batch(config)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_an_export_opens_again_with_its_head(source, tmp_path):
    config = source("mpnet", modes=("mean",), normalize=True)
    backbone = backbone_of(config)
    folder = exported(backbone.net, config, tmp_path / "m")
    described = json.loads((folder / "config.json").read_text())
    assert described["architectures"] == ["MPNetModel"]
    described["zooadapt"] = {"classes": ["no", "yes", "müde"]}
    (folder / "config.json").write_text(json.dumps(described))
    again = build(open_source(str(folder)))
    assert not again.unused
    assert torch.equal(again.backbone.logits(batch(config)), backbone.logits(batch(config)))


def test_a_published_encoder_is_read_by_its_files(source, tmp_path):
    config = source("bert")
    parsed = transformers.AutoConfig.for_model(**{k: v for k, v in config.items() if k != FILES})
    encoder = transformers.AutoModel.from_config(parsed)
    encoder.save_pretrained(tmp_path / "plain")
    for name, text in config[FILES].items():
        (tmp_path / "plain" / name).write_text(text)
    transformer = sentence_transformers.sentence_transformer.modules.Transformer(
        str(tmp_path / "plain"), max_seq_length=6
    )
    pool = sentence_transformers.sentence_transformer.modules.Pooling(16, "mean")
    normalize = sentence_transformers.sentence_transformer.modules.Normalize()
    stock = sentence_transformers.SentenceTransformer(modules=[transformer, pool, normalize])
    stock.save(str(tmp_path / "published"))

    model = build(open_source(str(tmp_path / "published")), task=of_classes("ab"))
    assert model.preprocessor.config()["max_length"] == 6
    samples = [model.preprocessor(text, rng=None) for text in TEXTS]
    with torch.no_grad():
        features = model.backbone.run(model.preprocessor.collate(samples))["features"]
    theirs = torch.from_numpy(stock.encode(TEXTS))
    torch.testing.assert_close(features, theirs, rtol=0, atol=1e-6)
    (name,) = model.source.family.poolings(model.source.config)
    assert name == "mean of the tokens, scaled to length 1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("modules.json", "{", "no list of modules"),
        ("modules.json", '[{"type": "evil.Code", "path": ""}]', "Transformer, then Pooling"),
        ("modules.json", '[{"type": "x.Transformer", "path": ""}, '
         '{"type": "x.Pooling", "path": "../other"}]', "'1_Pooling'"),
        ("1_Pooling/config.json", '{"pooling_mode": "median"}', "pooling_mode"),
        ("1_Pooling/config.json", "[]", "not a JSON object"),
        ("sentence_bert_config.json", '{"max_seq_length": "long"}', "max_seq_length"),
    ],
)  # fmt: skip
def test_a_wrong_layout_is_one_clear_error(source, name, text, message):
    config = source("bert", modes=("mean",))
    config[FILES] = config[FILES] | {name: text}
    with pytest.raises(DataError, match=message) as caught:
        TextFamily().preprocessor(config)
        TextFamily().build(config, 2)
    assert "\n" not in str(caught.value)


def test_texts_can_be_as_long_as_the_positions(source):
    config = source("bert", modes=("mean",))
    text = " ".join(WORDS)
    family = TextFamily()
    assert family.preprocessor(config).max_length == 9
    assert family.preprocessor(config).length(text) == len(WORDS) + 2
    longer = family.with_length(config, 12)
    assert family.preprocessor(longer).max_length == 12
    again = family.native_config(longer, ["a", "b"])
    assert family.preprocessor(again).max_length == 12
    assert json.loads(again[FILES][pooling.ENCODER])["max_seq_length"] == 12
    with pytest.raises(UsageError, match="12 tokens, not for 40") as caught:
        family.with_length(config, 40)
    assert caught.value.remedy == "--max-length 12"


# What pools best is chosen


@pytest.fixture
def separable_by_mean(source, tmp_path) -> tuple[Path, Path]:
    """A BERT whose first token attends to itself alone, so that only the mean of the tokens knows
    the text; and texts whose class is in their words."""
    config = source("bert")
    backbone = backbone_of(config)
    with torch.no_grad():
        for name, parameter in backbone.net.named_parameters():
            if ".attention.output.dense" in name:
                parameter.zero_()
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in config[FILES].items():
        (folder / name).write_text(text)
    plain = {key: value for key, value in config.items() if key != FILES}
    (folder / "config.json").write_text(json.dumps(plain))
    state = {
        name.removeprefix("bert."): tensor
        for name, tensor in backbone.net.state_dict().items()
        if name.startswith("bert.")
    }
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    rng = torch.Generator().manual_seed(0)
    rows = []
    for number in range(60):
        words = torch.randint(3, len(WORDS), (4,), generator=rng).tolist()
        rows.append((" ".join([WORDS[number % 3], *(WORDS[k] for k in words)]), number % 3))
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return folder, tmp_path / "data.csv"


def test_the_best_pooling_is_chosen_without_a_declared_one(separable_by_mean, tmp_path):
    folder, data = separable_by_mean
    out = tmp_path / "out"
    request = Request(source=str(folder), data=str(data), out=out, strategy="probe", folds=3)
    result = adapt(request, Progress())
    (choice,) = (c for c in result.plan.choices if c.what == "pooling")
    assert choice.value.startswith("mean of the tokens")
    assert "first token" in choice.why and "the classifier's own" in choice.why
    assert list(out.glob("?_Dense/model.safetensors"))
    metrics, _ = evaluate(str(out), str(data), Settings(), Progress())
    stock = sentence_transformers.SentenceTransformer(str(out))
    with data.open() as file:
        rows = list(csv.DictReader(file))
    answers = stock.encode([row["text"] for row in rows]).argmax(1)
    right = sum(int(row["label"]) == answer for row, answer in zip(rows, answers, strict=True))
    assert right / len(rows) == pytest.approx(metrics.accuracy) and metrics.accuracy > 0.9
    again = adapt(
        Request(source=str(out), data=str(data), out=tmp_path / "two", strategy="probe"), Progress()
    )
    assert again.report["carried_classes"] == ["0", "1", "2"]


def test_features_of_a_plain_encoder_are_the_mean_of_its_tokens(separable_by_mean, tmp_path):
    folder, data = separable_by_mean
    features(str(folder), str(data), tmp_path / "f.safetensors", Settings(), Progress())
    source = open_source(str(folder))
    pool = pooling.Pool(("mean",), normalize=True)
    model = build(
        replace(source, config=pooling.with_pool(source.config, pool)), task=of_classes("a")
    )
    with data.open() as file:
        raws = [row["text"] for row in csv.DictReader(file)]
    activations = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    with torch.no_grad():
        expected = model.backbone.run(activations)["features"]
    written = load_file(tmp_path / "f.safetensors")["features"]
    torch.testing.assert_close(written, expected, rtol=0, atol=0.02)
    assert torch.nn.functional.cosine_similarity(written, expected).min() > 0.999


def test_the_published_files_of_an_export_suffice(separable_by_mean, tmp_path):
    folder, data = separable_by_mean
    out = tmp_path / "out"
    adapt(Request(source=str(folder), data=str(data), out=out, strategy="probe"), Progress())
    from zooadapt.family import further_files

    planned = hub.push(out, "me/model", dry_run=True, offline=True, license="mit",
                       names=further_files(TextFamily()))  # fmt: skip
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {file.name for file in planned.files} == there - {"report.html"}, "sent on request"
