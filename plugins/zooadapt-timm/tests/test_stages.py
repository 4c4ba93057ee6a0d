"""A network's stages and head compute what the network computes, bit for bit."""

import copy

import pytest
import timm
import torch
from torch import nn

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError

ARCHITECTURES = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "densenet121", "regnetx_002",
    "mobilenetv4_conv_small", "pit_ti_224", "hiera_tiny_224", "poolformer_s12",
    "crossvit_9_240",
)  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request, family):
    return make(family, request.param)


def make(family, architecture, **args):
    """A network none of whose parameters is zero, as some are at the start: a scale of zero would
    hide what it scales."""
    config = {"architecture": architecture, "num_classes": 7, "model_args": args}
    torch.manual_seed(0)
    net = family.build(config, 7)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.0)
    backbone = StagedBackbone(family, net)
    nn.init.normal_(backbone.head.weight, std=0.1)
    return backbone


def photos(backbone, n, *, seed=0):
    fixed = backbone.net.pretrained_cfg["fixed_input_size"]
    channels, side, _ = backbone.net.pretrained_cfg["input_size"]
    side = side if fixed else 96
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_running_on_from_any_freeze_point_is_the_network(backbone):
    assert backbone.depth >= 2 and not backbone.notes
    backbone.eval()
    for n in (1, 4):
        x = photos(backbone, n)
        with torch.inference_mode():
            logits = backbone.net(x)
            activations = {"x": x}
            assert torch.equal(backbone.logits(activations), logits)
            for k, stage in enumerate(backbone.stages):
                inputs = {name: tensor.clone() for name, tensor in activations.items()}
                after = stage.run(activations)
                assert all(torch.equal(activations[name], inputs[name]) for name in inputs), (
                    stage.name
                )
                assert all(len(tensor) == n for tensor in after.values()), stage.name
                if n == 1:
                    assert torch.equal(backbone.logits(activations, start=k), logits), stage.name
                activations = after
            assert activations["features"].ndim == 2


def test_activations_can_be_batched_anew(backbone):
    backbone.eval()
    with torch.inference_mode():
        one, two = ({"x": photos(backbone, n, seed=n)} for n in (1, 2))
        for k in range(backbone.depth):
            joined = {name: torch.cat((one[name], two[name])) for name in one}
            after = [backbone.run(activations, start=k, stop=k + 1) for activations in (one, two)]
            for name, tensor in backbone.run(joined, start=k, stop=k + 1).items():
                expected = torch.cat([activations[name] for activations in after])
                torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-4)
            one, two = after


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_equals_that_of_the_network(family, architecture):
    """Outputs, gradients and running statistics, with dropout and drop path on."""
    rates = {"drop_rate": 0.2}
    if architecture != "densenet121":
        rates["drop_path_rate"] = 0.2
    backbone = make(family, architecture, **rates)
    net, x = backbone.net, photos(backbone, 2)
    start = copy.deepcopy(net.state_dict())
    runs = []
    for forward in (net, net, lambda x: backbone.logits({"x": x})):
        net.load_state_dict(start)
        net.zero_grad()
        net.train()
        torch.manual_seed(len(runs) and 1)
        logits = forward(x)
        logits.square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in net.named_parameters()
                     if p.grad is not None}  # fmt: skip
        runs.append((logits.detach(), gradients, copy.deepcopy(net.state_dict())))
    other_seed, expected, actual = runs
    assert not torch.equal(other_seed[0], expected[0]), "nothing random is on"
    assert torch.equal(actual[0], expected[0])
    for want, got in zip(expected[1:], actual[1:], strict=True):
        assert want.keys() == got.keys()
        assert [name for name in want if not torch.equal(want[name], got[name])] == []


def test_running_to_a_freeze_point_calls_no_later_module(backbone):
    backbone.eval()
    called = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, path=path: called.append(path))
        for path, module in backbone.net.named_modules()
        if path
    ]
    try:
        with torch.inference_mode():
            for k in range(backbone.depth):
                called.clear()
                backbone.run({"x": photos(backbone, 1)}, stop=k)
                behind = [p for stage in backbone.stages[k:] for p in stage.owns] + [
                    backbone.head_path
                ]
                assert [c for c in called if any(f"{c}.".startswith(f"{p}.") for p in behind)] == []
    finally:
        for hook in hooks:
            hook.remove()


def test_a_frozen_stage_runs_as_in_eval_mode(family):
    for architecture in ("mobilenetv2_100", "vit_tiny_patch16_224"):
        backbone = make(family, architecture, drop_rate=0.5, drop_path_rate=0.5)
        x = photos(backbone, 2)
        backbone.freeze(backbone.depth)
        backbone.train()
        trained = backbone.run({"x": x})["features"]
        assert not trained.requires_grad
        backbone.eval()
        assert torch.equal(trained, backbone.run({"x": x})["features"])


def test_functional_dropout_follows_the_mode_of_its_stage(family):
    backbone = make(family, "ghostnet_100", drop_rate=0.5)
    inputs = backbone.run({"x": photos(backbone, 2)}, stop=backbone.depth - 1)

    def features(freeze_at):
        backbone.freeze(freeze_at)
        backbone.train()
        return backbone.run(inputs, start=backbone.depth - 1)["features"]

    frozen = features(backbone.depth)
    assert torch.equal(frozen, features(backbone.depth))
    assert (features(0) == 0).sum() > (frozen == 0).sum()


def test_the_head_is_a_layer_of_the_network(backbone):
    assert isinstance(backbone.head, (nn.Linear, nn.Conv2d))
    assert len(backbone.head.weight) == 7
    names = [stage.name for stage in backbone.stages]
    assert names[0] == "stem" and len(set(names)) == len(names)


def test_a_convolution_can_be_the_head(family):
    backbone = make(family, "resnetv2_18")
    assert isinstance(backbone.head, nn.Conv2d)
    x = photos(backbone, 2)
    with torch.inference_mode():
        assert torch.equal(backbone.logits({"x": x}), backbone.net(x))


def test_a_network_that_cannot_be_traced_is_one_stage(family):
    net = family.build({"architecture": "resnet18", "num_classes": 7}, 7)
    plain = type(net).forward

    class Moody(type(net)):
        def forward(self, x):
            return plain(self, x if x.mean() > 0 else -x)

    net.__class__ = Moody
    backbone = StagedBackbone(family, net)
    x = photos(backbone, 2)
    assert backbone.depth == 1 and "cannot be traced" in backbone.notes[0]
    with torch.inference_mode():
        assert torch.equal(backbone.logits({"x": x}), net(x))
        assert torch.equal(backbone.logits({"x": -x}), net(-x))


def test_a_stage_with_inplace_operations_leaves_its_input(family):
    backbone = make(family, "resnet18")
    backbone.net.layer2[0].conv1 = nn.Sequential(
        nn.ReLU(inplace=True), backbone.net.layer2[0].conv1
    )
    backbone = StagedBackbone(family, backbone.net)
    with torch.inference_mode():
        activations = backbone.run({"x": photos(backbone, 2)}, stop=2)
        activations["x"] -= activations["x"].mean()
        inputs = activations["x"].clone()
        first = backbone.run(activations, start=2)["features"]
        again = backbone.run(activations, start=2)["features"]
        assert torch.equal(activations["x"], inputs) and torch.equal(first, again)


def test_a_network_without_a_head_is_refused(family):
    with torch.device("meta"):
        net = timm.create_model("qwen3_vit_88m_enc")
    with pytest.raises(DataError, match="no classif"):
        family.head(net)
