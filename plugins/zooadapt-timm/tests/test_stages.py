"""A network's stages and head compute what the network computes, bit for bit."""

import copy

import pytest
import timm
import torch
from torch import nn

from zooadapt.backbone.staged import Chain
from zooadapt.errors import DataError

ARCHITECTURES = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "densenet121", "regnetx_002",
    "mobilenetv4_conv_small", "pit_ti_224", "hiera_tiny_224", "poolformer_s12",
    "crossvit_9_240",
)  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def chain(request, family):
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
    chain = Chain(family, net)
    nn.init.normal_(chain.head.weight, std=0.1)
    return chain


def photos(chain, n, *, seed=0):
    fixed = chain.net.pretrained_cfg["fixed_input_size"]
    channels, side, _ = chain.net.pretrained_cfg["input_size"]
    side = side if fixed else 96
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_running_to_any_cut_and_on_from_it_is_the_network(chain):
    assert chain.depth >= 2 and not chain.notes
    chain.eval()
    for n in (1, 4):
        x = photos(chain, n)
        with torch.inference_mode():
            logits = chain.net(x)
            carry = {"x": x}
            assert torch.equal(chain.logits(carry), logits)
            for k, stage in enumerate(chain.stages):
                given = {name: tensor.clone() for name, tensor in carry.items()}
                after = stage.run(carry)
                assert all(torch.equal(carry[name], given[name]) for name in given), stage.name
                assert all(len(tensor) == n for tensor in after.values()), stage.name
                if n == 1:
                    assert torch.equal(chain.logits(carry, start=k), logits), stage.name
                carry = after
            assert carry["features"].ndim == 2


def test_carries_may_be_batched_anew_at_any_cut(chain):
    chain.eval()
    with torch.inference_mode():
        one, two = ({"x": photos(chain, n, seed=n)} for n in (1, 2))
        for k in range(chain.depth):
            joined = {name: torch.cat((one[name], two[name])) for name in one}
            after = [chain.run(carry, start=k, stop=k + 1) for carry in (one, two)]
            for name, tensor in chain.run(joined, start=k, stop=k + 1).items():
                expected = torch.cat([carry[name] for carry in after])
                torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-4)
            one, two = after


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_is_the_networks(family, architecture):
    """Outputs, gradients and running statistics, with dropout and drop path on."""
    rates = {"drop_rate": 0.2}
    if architecture != "densenet121":
        rates["drop_path_rate"] = 0.2
    chain = make(family, architecture, **rates)
    net, x = chain.net, photos(chain, 2)
    start = copy.deepcopy(net.state_dict())
    runs = []
    for forward in (net, net, lambda x: chain.logits({"x": x})):
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


def test_running_to_a_cut_calls_nothing_behind_it(chain):
    chain.eval()
    called = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, path=path: called.append(path))
        for path, module in chain.net.named_modules()
        if path
    ]
    try:
        with torch.inference_mode():
            for k in range(chain.depth):
                called.clear()
                chain.run({"x": photos(chain, 1)}, stop=k)
                behind = [p for stage in chain.stages[k:] for p in stage.owns] + [chain.head_path]
                assert [c for c in called if any(f"{c}.".startswith(f"{p}.") for p in behind)] == []
    finally:
        for hook in hooks:
            hook.remove()


def test_a_frozen_stage_runs_as_in_eval_mode(family):
    for architecture in ("mobilenetv2_100", "vit_tiny_patch16_224"):
        chain = make(family, architecture, drop_rate=0.5, drop_path_rate=0.5)
        x = photos(chain, 2)
        chain.freeze(chain.depth)
        chain.train()
        trained = chain.run({"x": x})["features"]
        assert not trained.requires_grad
        chain.eval()
        assert torch.equal(trained, chain.run({"x": x})["features"])


def test_a_dropout_outside_of_any_module_follows_its_stage(family):
    chain = make(family, "ghostnet_100", drop_rate=0.5)
    given = chain.run({"x": photos(chain, 2)}, stop=chain.depth - 1)

    def features(cut):
        chain.freeze(cut)
        chain.train()
        return chain.run(given, start=chain.depth - 1)["features"]

    frozen = features(chain.depth)
    assert torch.equal(frozen, features(chain.depth))
    assert (features(0) == 0).sum() > (frozen == 0).sum()


def test_the_head_is_a_layer_of_the_network(chain):
    assert isinstance(chain.head, (nn.Linear, nn.Conv2d))
    assert len(chain.head.weight) == 7
    names = [stage.name for stage in chain.stages]
    assert names[0] == "stem" and len(set(names)) == len(names)


def test_a_convolution_can_be_the_head(family):
    chain = make(family, "resnetv2_18")
    assert isinstance(chain.head, nn.Conv2d)
    x = photos(chain, 2)
    with torch.inference_mode():
        assert torch.equal(chain.logits({"x": x}), chain.net(x))


def test_a_network_that_cannot_be_traced_is_one_stage(family):
    net = family.build({"architecture": "resnet18", "num_classes": 7}, 7)
    plain = type(net).forward

    class Moody(type(net)):
        def forward(self, x):
            return plain(self, x if x.mean() > 0 else -x)

    net.__class__ = Moody
    chain = Chain(family, net)
    x = photos(chain, 2)
    assert chain.depth == 1 and "cannot be traced" in chain.notes[0]
    with torch.inference_mode():
        assert torch.equal(chain.logits({"x": x}), net(x))
        assert torch.equal(chain.logits({"x": -x}), net(-x))


def test_a_stage_that_works_in_place_leaves_its_carry_alone(family):
    chain = make(family, "resnet18")
    chain.net.layer2[0].conv1 = nn.Sequential(nn.ReLU(inplace=True), chain.net.layer2[0].conv1)
    chain = Chain(family, chain.net)
    with torch.inference_mode():
        carry = chain.run({"x": photos(chain, 2)}, stop=2)
        carry["x"] -= carry["x"].mean()
        given = carry["x"].clone()
        first = chain.run(carry, start=2)["features"]
        again = chain.run(carry, start=2)["features"]
        assert torch.equal(carry["x"], given) and torch.equal(first, again)


def test_a_network_without_a_head_is_refused(family):
    with torch.device("meta"):
        net = timm.create_model("qwen3_vit_88m_enc")
    with pytest.raises(DataError, match="no classif"):
        family.head(net)
