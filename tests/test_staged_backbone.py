"""The staged backbone of a small network: frozen stages stay the same, trained ones change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zooadapt.backbone.staged import (
    StagedBackbone,
    channel_means,
    frozen_proof,
    places,
    state_sha256,
)
from zooadapt.errors import PluginError, UsageError, ZooadaptError
from zooadapt.family import Stage


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5))
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.high(self.low(x)).mean((2, 3)))


class Toy:
    name = "toy"

    def __init__(self, owns: tuple[str, ...] = ("high",)) -> None:
        self.owns = owns

    def stages(self, net: Net) -> list[Stage]:
        return [
            Stage(name="low", run=lambda x: {"h": net.low(x["x"])}, owns=("low",)),
            Stage(
                name="high",
                run=lambda x: {"features": net.high(x["h"]).mean((2, 3))},
                owns=self.owns,
            ),
        ]

    def head(self, net: Net) -> str:
        return "head"


@pytest.fixture
def backbone() -> StagedBackbone:
    torch.manual_seed(0)
    return StagedBackbone(Toy(), Net())


def batch() -> dict[str, torch.Tensor]:
    return {"x": torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))}


def test_composed_stages_compute_the_network(backbone: StagedBackbone) -> None:
    backbone.eval()
    x = batch()
    assert torch.equal(backbone.logits(x), backbone.net(x["x"]))
    half = backbone.run(x, stop=1)
    assert torch.equal(backbone.logits(half, start=1), backbone.net(x["x"]))


@pytest.mark.parametrize("freeze_at", [0, 1, 2])
def test_frozen_stages_stay_bit_for_bit(backbone: StagedBackbone, freeze_at: int) -> None:
    backbone.freeze(freeze_at)
    before = {name: tensor.clone() for name, tensor in backbone.frozen_state().items()}
    trained = {name: p.clone() for name, p in backbone.net.named_parameters() if p.requires_grad}
    groups = backbone.parameter_groups(stage_decay=0.5, weight_decay=0.1, lowest=freeze_at)
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    for _ in range(2):
        backbone.train()
        loss = nn.functional.cross_entropy(backbone.logits(batch()), torch.arange(8) % 2)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = backbone.frozen_state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    now = dict(backbone.net.named_parameters())
    assert trained and all(not torch.equal(trained[name], now[name]) for name in trained)


def test_frozen_statistics_stay_while_their_affine_parameters_train(
    backbone: StagedBackbone,
) -> None:
    backbone.freeze(0, norm_statistics="frozen")
    mean = backbone.net.low[1].running_mean.clone()
    backbone.train()
    backbone.logits(batch()).sum().backward()
    assert torch.equal(backbone.net.low[1].running_mean, mean)
    assert backbone.net.low[1].weight.grad is not None


def test_rates_fall_towards_the_input_and_norms_have_no_decay(backbone: StagedBackbone) -> None:
    groups = backbone.parameter_groups(stage_decay=0.5, weight_decay=0.1, lowest=0)
    shares = {group["stage"]: group["share"] for group in groups}
    assert shares == {0: 0.25, 1: 0.5, 2: 1.0}
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert id(backbone.net.low[0].weight) in decayed
    assert (
        id(backbone.net.low[1].weight) not in decayed and id(backbone.net.head.bias) not in decayed
    )


def test_a_changed_frozen_tensor_fails_the_run(backbone: StagedBackbone) -> None:
    with pytest.raises(ZooadaptError, match="frozen tensor changed"):
        with frozen_proof(backbone, 1):
            backbone.net.low[1].running_mean.add_(1)


def test_the_hash_covers_names_types_shapes_and_values() -> None:
    one = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3).int()},
        {"a": torch.ones(2, 3)},
    ]
    assert state_sha256(one) == state_sha256({"a": torch.zeros(2, 3)})
    assert all(state_sha256(one) != state_sha256(other) for other in others)


def test_an_unknown_stage_gets_the_closest_name_suggested(backbone: StagedBackbone) -> None:
    assert [backbone.resolve(w) for w in ("start", "low", "high", "end")] == [0, 0, 1, 2]
    with pytest.raises(UsageError, match="no stage 'hihg'. Did you mean 'high'"):
        backbone.resolve("hihg")


@pytest.mark.parametrize("owns", [(), ("high", "low.0"), ("high.0",)])
def test_tensors_without_exactly_one_owner_are_refused(owns: tuple[str, ...]) -> None:
    with pytest.raises(PluginError, match="is owned by"):
        StagedBackbone(Toy(owns), Net())


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [((2, 5, 4, 4), None, (2, 3)),
     ((2, 4, 4, 5), None, (1, 2)),
     ((2, 5, 4, 7), None, (2, 3)),
     ((2, 5, 4, 7), -1, (1, 2)),
     ((2, 4, 4, 5), 1, (2, 3)),
     ((2, 9, 5), None, (1,)),
     ((2, 5, 9), 1, (2,)),
     ((2, 5), 1, ())],
)  # fmt: skip
def test_means_are_over_all_but_samples_and_channels(shape, channels, expected):
    tensor = torch.rand(shape)
    assert places(tensor, channels) == expected
    means = channel_means({"x": tensor}, channels)
    assert torch.equal(means, tensor.mean(expected) if expected else tensor)
