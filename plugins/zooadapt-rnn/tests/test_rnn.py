"""Recurrent networks: stages, padding, texts, reference weights, exports."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import torch
import zooadapt_rnn
from safetensors.torch import load_file
from torch import nn
from zooadapt_rnn import RnnFamily

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError

DATA = Path(
    os.environ.get("ZOOADAPT_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
REFERENCES = ("charlstm_darwin.ml5", "charlstm_shakespeare.ml5")
TEXTS = ["", "a", "Who was Galileo ?", "é£ \U0001f600", "abc " * 30, "b" * 500]
FAMILY = RnnFamily()


def config(**changes) -> dict:
    base = {
        "architecture": "char_rnn", "cell": "lstm", "unit": "char", "vocab_size": 30,
        "vocab": {letter: row for row, letter in enumerate("abcdefghijklmnopqrstuvwxyz ?")},
        "embedding_dim": 6, "hidden_size": 5, "num_layers": 3, "unknown": 28, "max_length": 40,
    }  # fmt: skip
    return base | changes


VARIANTS = {
    "lstm": config(),
    "gru": config(cell="gru"),
    "bidirectional": config(bidirectional=True),
    "bidirectional-gru-bytes": config(cell="gru", unit="byte", vocab_size=257, bidirectional=True),
    "one-layer-dropout": config(num_layers=1, dropout=0.5),
}
every_variant = pytest.mark.parametrize("source", VARIANTS.values(), ids=VARIANTS)


def seeded(source: dict, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return FAMILY.build(source, num_classes)


def batch(source: dict, texts=TEXTS) -> dict[str, torch.Tensor]:
    preprocessor = FAMILY.preprocessor(source)
    return preprocessor.collate([preprocessor(text, rng=None) for text in texts])


def padded(activations: dict[str, torch.Tensor], by: int) -> dict[str, torch.Tensor]:
    """Every sequence `by` steps longer, zeros at its end."""
    return {
        name: torch.cat((t, t.new_zeros(t.shape[0], by, *t.shape[2:])), dim=1) if t.ndim > 1 else t
        for name, t in activations.items()
    }


@every_variant
@torch.no_grad()
def test_the_stages_are_the_network_from_every_freeze_point(source):
    backbone = StagedBackbone(FAMILY, seeded(source))
    activations = batch(source)
    expected = backbone.net(**activations)
    assert expected.shape == (len(TEXTS), 4) and expected.isfinite().all()
    for freeze_at in range(backbone.depth + 1):
        assert torch.equal(
            backbone.logits(backbone.run(activations, stop=freeze_at), start=freeze_at), expected
        )


@every_variant
def test_the_stages_are_the_network_in_training(source):
    backbone, activations = StagedBackbone(FAMILY, seeded(source)), batch(source)
    backbone.train()
    torch.manual_seed(1)
    expected = backbone.net(**activations)
    torch.manual_seed(1)
    assert torch.equal(backbone.logits(activations), expected)


@every_variant
@torch.no_grad()
def test_more_padding_changes_no_bit(source):
    backbone, activations = StagedBackbone(FAMILY, seeded(source)), batch(source)
    expected = backbone.logits(activations)
    for freeze_at in range(backbone.depth):
        longer = padded(backbone.run(activations, stop=freeze_at), by=7)
        assert torch.equal(backbone.logits(longer, start=freeze_at), expected)


@every_variant
@torch.no_grad()
def test_a_text_alone_gives_the_logits_of_a_batch(source):
    backbone = StagedBackbone(FAMILY, seeded(source))
    together = backbone.logits(batch(source))
    alone = torch.cat([backbone.logits(batch(source, [text])) for text in TEXTS])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_layers_equal_a_stacked_packed_torch_rnn():
    torch.manual_seed(0)
    stacked = nn.GRU(6, 5, num_layers=2, batch_first=True, bidirectional=True)
    source = config(architecture="char_gru", num_layers=2, bidirectional=True)
    net = seeded(source)
    weights = {f"rnn.{name}": tensor for name, tensor in stacked.state_dict().items()}
    state = {"embed.weight": net.embed.weight, "head.weight": torch.ones(30, 10), **weights}
    converted = FAMILY.convert(state, source)
    missing, unexpected = net.load_state_dict(converted, strict=False)
    assert unexpected == [] and set(missing) == {"head.weight", "head.bias"}

    activations = batch(source)
    packed = nn.utils.rnn.pack_padded_sequence(
        net.embed(activations["ids"]), activations["length"], batch_first=True, enforce_sorted=False
    )
    states, last = stacked(packed)
    states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    features = StagedBackbone(FAMILY, net).run(activations)["features"]
    per_text = [states[row, :length] for row, length in enumerate(activations["length"])]
    expected = torch.cat(
        (
            torch.cat((last[-2], last[-1]), dim=1),
            torch.stack([text.mean(dim=0) for text in per_text]),
            torch.stack([text.amax(dim=0) for text in per_text]),
        ),
        dim=1,
    )
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)


def test_dropout_is_on_in_training_only():
    backbone = StagedBackbone(FAMILY, seeded(VARIANTS["one-layer-dropout"]))
    activations = batch(VARIANTS["one-layer-dropout"])
    assert (backbone.run(activations)["features"] != 0).all()
    backbone.train()
    dropped = (backbone.run(activations)["features"] == 0).float().mean()
    assert 0.3 < dropped < 0.7
    backbone.freeze(backbone.depth)
    backbone.train()
    assert (backbone.run(activations)["features"] != 0).all()


@pytest.mark.parametrize(
    ("text", "spelled", "unknown"),
    [
        ("cafe", "cafe", 0),
        ("café", "cafe", 0),
        (unicodedata.normalize("NFD", "café"), "cafe", 0),
        ("CAFÉ", "cafe", 0),
        ("ﬁne", "fine", 0),
        ("straße", "strasse", 0),
        ("a£b", "a\0b", 1),
        ("\U0001f600", "\0", 1),
        ("", "\0", 0),
        ("x" * 41, "x" * 40, 0),
    ],
)
def test_characters_outside_the_vocabulary(text, spelled, unknown):
    source = config()
    preprocessor = FAMILY.preprocessor(source)
    rows = source["vocab"] | {"\0": source["unknown"]}
    sample = preprocessor(text, rng=None)
    assert sample["ids"].tolist() == [rows[letter] for letter in spelled]
    assert int(sample["length"]) == len(spelled)
    assert preprocessor.unknowns(text) == (unknown, len(spelled) if text else 0)


def test_an_accent_in_the_vocabulary_stays():
    source = config(vocab={"e": 0, "é": 1, "E": 2}, vocab_size=4, unknown=3)
    ids = FAMILY.preprocessor(source)("eéEÉ", rng=None)["ids"]
    assert ids.tolist() == [0, 1, 2, 2]


def test_bytes_need_no_vocabulary():
    source = VARIANTS["bidirectional-gru-bytes"]
    preprocessor = FAMILY.preprocessor(source)
    assert preprocessor("aé\ud800", rng=None)["ids"].tolist() == [97, 0xC3, 0xA9, ord("?")]
    assert preprocessor.unknowns("aé") == (0, 3)


@every_variant
def test_a_native_config_is_a_source_of_the_same_network(source):
    written = json.loads(json.dumps(FAMILY.native_config(source, ["no", "yes"])))
    assert FAMILY.claims(written)
    assert FAMILY.classes(written) == ("no", "yes")
    assert FAMILY.preprocessor(written).config() == FAMILY.preprocessor(source).config()
    assert FAMILY.native_config(written, ["no", "yes"]) == written
    state = seeded(source, 2).state_dict()
    FAMILY.build(written, 2).load_state_dict(FAMILY.convert(state, written))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"cell": "rnn"}, "cell"),
        ({"unit": "word"}, "unit"),
        ({"vocab": {"a": 30}}, "vocab['a']"),
        ({"vocab": None}, "vocab"),
        ({"vocab": {"a": True}}, "vocab['a']"),
        ({"unknown": 30}, "unknown"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": 1 << 40}, "hidden_size"),
        ({"num_layers": "2"}, "num_layers"),
        ({"embedding_dim": float("nan")}, "embedding_dim"),
        ({"unit": "byte", "vocab_size": 255}, "vocab_size"),
        ({"bidirectional": 1}, "bidirectional"),
        ({"dropout": 1}, "dropout"),
        ({"classes": "ab"}, "classes"),
        ({"architecture": ["char_rnn"]}, "architecture"),
    ],
)
def test_a_wrong_config_names_its_key(changes, key):
    with pytest.raises(DataError) as caught:
        FAMILY.build(config(**changes), 2)
    assert caught.value.thing == key


@pytest.mark.parametrize("name", REFERENCES)
@torch.no_grad()
def test_reference_weights_load_with_a_mean_unknown(name):
    folder = DATA / "weights" / name
    if not folder.is_dir():
        pytest.skip(f"no reference weights at {folder}: set ZOOADAPT_TEST_DATA")
    source = json.loads((folder / "config.json").read_text("utf-8"))
    state = load_file(folder / "model.safetensors")
    assert FAMILY.claims(source)
    net = FAMILY.build(source, 3)
    missing, unexpected = net.load_state_dict(FAMILY.convert(state, source), strict=False)
    assert unexpected == [] and set(missing) == {"head.weight", "head.bias"}
    torch.testing.assert_close(net.embed.weight[-1], state["embed.weight"].mean(dim=0))
    assert FAMILY.preprocessor(source)("€", rng=None)["ids"].tolist() == [source["vocab_size"]]

    # The converted layers under the source's own head still model English, at the source's own
    # bits per character; a wrong gate order or layer would give 6 bits or more.
    text = "the light of the sun and of the moon is seen from the earth, and the man "
    ids = batch(source, [text])
    states = StagedBackbone(FAMILY, net).run(ids, stop=3)["states"][0, :-1]
    logits = states @ state["head.weight"].T + state["head.bias"]
    bits = nn.functional.cross_entropy(logits, ids["ids"][0, 1:]) / torch.log(torch.tensor(2.0))
    assert bits < 3.5


def test_claims_import_no_torch():
    code = (
        "import sys, zooadapt_rnn;"
        "zooadapt_rnn.RnnFamily().claims({'architecture': 'char_lstm'});"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@torch.no_grad()
def test_the_bundled_source_reads_english_whatever_its_case():
    folder = Path(zooadapt_rnn.__file__).parent / FAMILY.bundled["english"]
    assert (folder / "model.safetensors").stat().st_size <= 3_000_000
    source = json.loads((folder / "config.json").read_text("utf-8"))
    state = load_file(folder / "model.safetensors")
    net = FAMILY.build(source, 3)
    net.load_state_dict(FAMILY.convert(state, source), strict=False)
    backbone, language = StagedBackbone(FAMILY, net), FAMILY.language(source)
    stop = backbone.resolve(language.stage) + 1

    def bits(text: str) -> float:
        ids = torch.tensor(language.encode(text))
        states = backbone.run(batch(source, [text]), stop=stop)["states"][0, :-1]
        logits = states @ state["decoder.weight"].T + state["decoder.bias"]
        return float(nn.functional.cross_entropy(logits, ids[1:])) / math.log(2)

    text = "I thank you for the letter that you sent me, and I hope to see you in the morning. "
    assert bits(text) < 2.4 and bits(text.lower()) < 2.6 and bits(text.upper()) < 3.5
    astray = text.replace("letter", "l\U0001f600tt\u00e9r")
    assert bits(text + astray + text) < bits(text) + 1, "after what it never saw it reads on"
