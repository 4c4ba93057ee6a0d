"""What timm loads and what this plugin loads is the same network."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from zooadapt.chain import Chain

REFERENCES = ("mobilenetv2_035.keras_in1k_headless", "mobilenetv2_100.tf2_in1k_dequant")


def stock(folder, **args):
    """The network as timm alone builds and loads it from a folder."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **args).eval()


def write(folder, config, state):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in state.items()},
              folder / "model.safetensors")  # fmt: skip
    return folder


def loaded(family, config, state, num_classes):
    net = family.build(config, num_classes)
    net.load_state_dict(family.convert(state, config))
    return net


def random_network(family, config, num_classes=5):
    torch.manual_seed(0)
    net = family.build(config, num_classes)
    for name, parameter in net.named_parameters():
        nn.init.normal_(parameter, std=0.1) if name != "" else None
    return net


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "mobilenetv2_035", "num_classes": 9, "model_args": {"pad_type": "same"},
         "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3}},
        {"architecture": "vit_tiny_patch16_224", "num_classes": 9, "pretrained_cfg": {}},
        {"architecture": "levit_128s", "num_classes": 9, "pretrained_cfg": {}},
        {"architecture": "deit_tiny_distilled_patch16_224", "num_classes": 9},
    ],
    ids=lambda config: config["architecture"],
)  # fmt: skip
@pytest.mark.parametrize("channels", [None, 1])
def test_an_export_is_timms_own(family, tmp_path, config, channels):
    if channels:
        config = family.with_input(config, channels=channels)
    net = random_network(family, config)
    classes = ["a", "b", "c", "d", "e"]
    folder = write(tmp_path / "out", family.native_config(config, classes), net.state_dict())
    other = stock(folder)
    size = family.preprocessor(config).config()["input_size"]
    x = torch.randn(2, *size)
    with torch.inference_mode():
        assert torch.equal(other(x), net(x))
    assert list(other.pretrained_cfg["label_names"]) == classes
    data = timm.data.resolve_model_data_config(other)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()} == (
        family.preprocessor(config).config()
    )


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_weights_load_and_split(family, reference, name):
    config = json.loads((reference / name / "config.json").read_text())
    state = load_file(reference / name / "model.safetensors")
    assert family.claims(config)
    net = loaded(family, config, state, config["num_classes"])
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(x), stock(reference / name)(x))
        chain = Chain(family, family.build(config, 5))
        chain.net.load_state_dict(family.convert(state, config) | {
            f"{chain.head_path}.weight": chain.head.weight, f"{chain.head_path}.bias":
            chain.head.bias})  # fmt: skip
        expected = net.forward_head(net.forward_features(x), pre_logits=True)
        assert torch.equal(chain.run({"x": x})["features"], expected)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channel_counts_are_adapted_as_timm_adapts_them(family, reference, channels):
    name = REFERENCES[1]
    config = json.loads((reference / name / "config.json").read_text())
    adapted = family.with_input(config, channels=channels)
    net = loaded(family, adapted, load_file(reference / name / "model.safetensors"), 1000)
    assert net.conv_stem.weight.shape[1] == channels
    expected = stock(reference / name, in_chans=channels).state_dict()
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, expected[key]), key
    assert family.preprocessor(adapted).config()["mean"] == [0.5] * channels


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_another_input_size_is_adapted_as_timm_adapts_it(family, tmp_path, architecture):
    config = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": {}}
    source = random_network(family, config)
    folder = write(tmp_path / "source", family.native_config(config, list("abcde")),
                   source.state_dict())  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    larger = family.with_input(config, size=256)
    net = loaded(family, larger, source.state_dict(), 5)
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(net(x), stock(folder, img_size=256)(x))
        chain = Chain(family, net)
        assert torch.equal(chain.logits({"x": x}), net(x))
    assert family.preprocessor(larger).config()["input_size"] == [3, 256, 256]


def test_a_convolutional_network_takes_any_size_unchanged(family):
    config = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": {}}
    state = family.build(config, 5).state_dict()
    smaller = family.with_input(config, size=64)
    assert family.convert(state, smaller).keys() == state.keys()
    assert "img_size" not in smaller.get("model_args", {})
    assert family.preprocessor(smaller).config()["input_size"] == [3, 64, 64]


@pytest.mark.parametrize("architecture", [
    "deit_tiny_distilled_patch16_224", "levit_128s", "efficientformerv2_s0", "repvit_m0_9",
])  # fmt: skip
def test_of_two_heads_the_first_is_kept(family, architecture):
    torch.manual_seed(0)
    two = timm.create_model(architecture, num_classes=5).eval()
    first, second = two.get_classifier() if architecture != "repvit_m0_9" else (
        two.head.head, two.head.head_dist)  # fmt: skip
    for part in (first, second):
        linear = next(m for m in part.modules() if isinstance(m, nn.Linear))
        nn.init.normal_(linear.weight)
    said = []
    first.register_forward_hook(lambda module, inputs, output: said.append(output))
    config = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": {}}
    net = loaded(family, config, two.state_dict(), 5)
    x = torch.randn(2, *two.pretrained_cfg["input_size"])
    with torch.inference_mode():
        two(x)
        assert torch.equal(Chain(family, net).logits({"x": x}), said[0])


def test_weights_that_do_not_fit_are_left_for_the_core_to_name(family):
    config = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": {}}
    state = family.build(config, 5).state_dict()
    state.pop("layer1.0.conv1.weight")
    assert family.convert(state, config).keys() == state.keys()
