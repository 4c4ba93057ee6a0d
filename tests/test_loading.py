"""Sources whose tensors have the names that training scripts and other libraries give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from zooadapt.backbone.pretrained import Model, build
from zooadapt.errors import DataError
from zooadapt.tasks import of_classes
from zooadapt.workflows.inspect import inspect
from zooadapt.zoo.sources import open_source

RNN = {
    "architecture": "char_rnn", "cell": "lstm", "unit": "byte", "embedding_dim": 4,
    "hidden_size": 5, "num_layers": 1, "classes": ["a", "b"],
}  # fmt: skip
LANGUAGE = {
    "architecture": "char_lstm", "vocab": {"a": 0, "b": 1}, "vocab_size": 2, "embedding_dim": 4,
    "hidden_size": 5, "num_layers": 1,
}  # fmt: skip
IMAGE = {
    "architecture": "test_resnet", "num_classes": 3, "label_names": ["a", "b", "c"],
    "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3},
}  # fmt: skip
TEXT = {
    "model_type": "bert", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 12, "id2label": {"0": "a", "1": "b"},
}  # fmt: skip


def tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\n")


def source(folder: Path, config: dict, prefix: str, **more: torch.Tensor) -> str:
    """A source of random weights whose names all begin with `prefix`."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    match config.get("architecture") or config["model_type"]:
        case "test_resnet":
            state = timm.create_model("test_resnet", num_classes=3).state_dict()
        case "bert":
            tokenizer(folder)
            net = transformers.BertForSequenceClassification(transformers.BertConfig(**config))
            state = net.state_dict()
        case "char_rnn":
            from zooadapt_rnn import RnnFamily

            state = RnnFamily().build(config, 2).state_dict()
        case _:
            rnn = torch.nn.LSTM(4, 5, batch_first=True)
            state = {f"rnn.{name}": tensor for name, tensor in rnn.state_dict().items()}
            state |= {"embed.weight": torch.randn(2, 4)}
    state = {f"{prefix}{name}": tensor.contiguous() for name, tensor in (state | more).items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def built(spec: str) -> Model:
    return build(open_source(spec), task=of_classes(["a", "b", "z"]))


@pytest.mark.parametrize("config", [RNN, LANGUAGE, IMAGE, TEXT], ids=["rnn", "lm", "timm", "bert"])
def test_a_prefix_of_all_names_is_removed_with_a_note(config: dict, tmp_path: Path) -> None:
    expected = built(source(tmp_path / "plain", config, ""))
    assert expected.notes == ()
    for k, prefix in enumerate(("module.", "_orig_mod.module.", "model.")):
        spec = source(tmp_path / str(k), config, prefix)
        model = built(spec)
        state = model.backbone.net.state_dict()
        for name, tensor in expected.backbone.net.state_dict().items():
            assert torch.equal(state[name], tensor), name
        assert (model.carried, model.unused) == (expected.carried, expected.unused)
        (note,) = model.notes
        assert f"'{prefix}...'" in note
    if config is RNN:
        assert note in inspect(spec, batch_size=1, offline=True)["notes"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_that_fit_under_no_prefix_are_named_unchanged(prefix: str, tmp_path: Path) -> None:
    spec = source(tmp_path / "one", IMAGE, prefix, **{"an.extra": torch.ones(1)})
    with pytest.raises(DataError, match=f"does not know {prefix}an.extra"):
        built(spec)


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    spec = source(tmp_path / "one", IMAGE, "module.")
    state = load_file(tmp_path / "one/model.safetensors")
    state["fc.bias"] = state.pop("module.fc.bias")
    save_file(state, tmp_path / "one/model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="lacks bn1.bias"):
        built(spec)


def test_the_timm_plugin_reads_timm_networks_saved_by_transformers(tmp_path: Path) -> None:
    config = transformers.TimmWrapperConfig.from_dict(json.loads(json.dumps(IMAGE)))
    torch.manual_seed(0)
    net = transformers.TimmWrapperForImageClassification(config).eval()
    net.save_pretrained(tmp_path)
    opened_source = open_source(str(tmp_path))
    assert opened_source.family.name == "timm" and opened_source.classes == ("a", "b", "c")
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = net(x).logits
        assert torch.equal(build(opened_source).backbone.logits({"x": x}), expected)
    native = opened_source.family.native_config(opened_source.config, ["a", "b", "c"])
    assert "model_type" not in native and native["architecture"] == "test_resnet"
