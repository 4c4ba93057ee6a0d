"""What timm loads and what this plugin loads is the same network."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from zooadapt.backbone.staged import StagedBackbone

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
    folder = write(tmp_path / "out", family.native_config(config, classes),
                   family.native_state(net.state_dict(), config))  # fmt: skip
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
        backbone = StagedBackbone(family, family.build(config, 5))
        backbone.net.load_state_dict(family.convert(state, config) | {
            f"{backbone.head_path}.weight": backbone.head.weight, f"{backbone.head_path}.bias":
            backbone.head.bias})  # fmt: skip
        expected = net.forward_head(net.forward_features(x), pre_logits=True)
        assert torch.equal(backbone.run({"x": x})["features"], expected)


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
        backbone = StagedBackbone(family, net)
        assert torch.equal(backbone.logits({"x": x}), net(x))
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
def test_the_first_of_two_heads_stays(family, architecture):
    torch.manual_seed(0)
    two = timm.create_model(architecture, num_classes=5).eval()
    first, second = two.get_classifier() if architecture != "repvit_m0_9" else (
        two.head.head, two.head.head_dist)  # fmt: skip
    for part in (first, second):
        linear = next(m for m in part.modules() if isinstance(m, nn.Linear))
        nn.init.normal_(linear.weight)
    outputs = []
    first.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    config = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": {}}
    net = loaded(family, config, two.state_dict(), 5)
    x = torch.randn(2, *two.pretrained_cfg["input_size"])
    with torch.inference_mode():
        two(x)
        assert torch.equal(StagedBackbone(family, net).logits({"x": x}), outputs[0])


@pytest.mark.parametrize(
    "architecture",
    ["crossvit_9_240", "efficientvim_m1_dist", "pit_ti_distilled_224", "swiftformer_xs"],
)
def test_several_averaged_heads_are_one(family, tmp_path, architecture):
    """timm's logits from timm's weights, whose heads have biases of their own, and an export gives
    them to timm again."""
    config = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": {}}
    torch.manual_seed(0)
    several = timm.create_model(architecture, num_classes=5).eval()
    for parameter in several.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.0)
    x = torch.randn(2, *several.pretrained_cfg["input_size"])
    net = loaded(family, config, several.state_dict(), 5)
    backbone = StagedBackbone(family, net)
    assert backbone.depth > 1 and isinstance(backbone.head, nn.Linear)
    with torch.inference_mode():
        logits = several(x)
        assert torch.equal(backbone.logits({"x": x}), net(x))
        torch.testing.assert_close(net(x), logits, rtol=1e-4, atol=1e-5)
        state = family.native_state(net.state_dict(), config)
        assert state.keys() == several.state_dict().keys()
        folder = write(tmp_path / "out", family.native_config(config, list("abcde")), state)
        torch.testing.assert_close(stock(folder)(x), logits, rtol=1e-4, atol=1e-5)
    again = family.convert(load_file(folder / "model.safetensors"), config)
    assert all(torch.equal(again[k], tensor) for k, tensor in net.state_dict().items())


def test_an_encoder_takes_the_classifier_of_its_sibling(family, tmp_path):
    """Its features are timm's mean and norm, and for one channel the first layer is found under the
    sibling's name for it."""
    torch.manual_seed(0)
    encoder = timm.create_model("qwen3_vit_88m_enc", global_pool="avg").eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.0)
    pretrained = json.loads(json.dumps({**encoder.pretrained_cfg, "file": None}))
    config = {"architecture": "qwen3_vit_88m_enc", "num_classes": 0, "pretrained_cfg": pretrained}
    config = family.with_input(config | {"global_pool": "merge", "num_features": 7}, size=64)
    backbone = StagedBackbone(family, family.build(config, 5))
    backbone.net.load_state_dict(family.convert(encoder.state_dict(), config), strict=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = backbone.net.norm(encoder(x))
        torch.testing.assert_close(
            backbone.run({"x": x})["features"], expected, rtol=1e-4, atol=1e-5
        )
        native = family.native_config(config, list("abcde"))
        assert native["architecture"] == "qwen3_vit_88m" and "global_pool" not in native
        folder = write(tmp_path / "out", native, backbone.net.state_dict())
        assert torch.equal(stock(folder)(x), backbone.logits({"x": x}))
    grey = family.convert(encoder.state_dict(), family.with_input(config, channels=1))
    assert grey["encoder.patch_embed.proj.weight"].shape[1] == 1


@pytest.mark.parametrize("architecture", [n for n in timm.list_models() if n.endswith("_enc")])
def test_an_encoder_and_its_sibling_have_the_same_layers(family, architecture):
    with torch.device("meta"):
        encoder = timm.create_model(architecture)
        net = family.build({"architecture": architecture, "num_classes": 0}, 5)
    inside = getattr(net, "encoder", net)
    for path, module in inside.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.LayerNorm)) and path != "classifier":
            assert repr(module) == repr(encoder.get_submodule(path)), path


def test_weights_that_do_not_fit_stay_unchanged(family):
    config = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": {}}
    state = family.build(config, 5).state_dict()
    state.pop("layer1.0.conv1.weight")
    assert family.convert(state, config).keys() == state.keys()


def test_several_heads_that_do_not_fit_stay_unchanged(family):
    config = {"architecture": "swiftformer_xs", "num_classes": 5, "pretrained_cfg": {}}
    state = timm.create_model("swiftformer_xs", num_classes=5).state_dict()
    without = {name: tensor for name, tensor in state.items() if name != "stem.0.weight"}
    without["head_dist.bias"] = without["head_dist.bias"] + 1
    expected = set(family.build(config, 5).state_dict()) - {"stem.0.weight"}
    assert family.convert(without, config).keys() == expected
    without["head_dist.bias"] = torch.zeros(4)
    assert family.convert(without, config).keys() == without.keys()
