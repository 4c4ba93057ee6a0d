"""Folding batch norms changes no result and no weight, and concerns pairs alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zooadapt.backbone.norm_folding import FoldedNorms
from zooadapt.backbone.staged import state_sha256


class Plain(nn.Module):
    """A convolution with or without a bias, its batch norm with or without an affine part."""

    def __init__(self, *, bias: bool = False, affine: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=bias)
        self.norm = nn.BatchNorm2d(8, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class Branched(Plain):
    """The convolution's output goes to the norm and to an addition."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Twice(Plain):
    """One convolution, run twice; only one of its outputs is normalised."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(-x)


class SharedNorm(Plain):
    """One norm after two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 8, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.norm(self.other(x))


class Standardised(Plain):
    """The convolution's weight is computed in every pass."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight - self.conv.weight.mean((1, 2, 3), keepdim=True)
        return self.norm(nn.functional.conv2d(x, weight, padding=1))


class Deep(nn.Module):
    """Many pairs, with short-lived tensors between them whose memory is reused."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)]) for _ in range(30)
        )

    def forward(self, x: Tensor) -> Tensor:
        for k, (conv, norm) in enumerate(self.blocks):
            y = conv(x * 0.5 + 0.1)
            x = norm(y).tanh() if k % 3 else (norm(y) + y.mean()).tanh()
        return x


def prepared(net: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("net", "pairs"),
    [
        (Plain(), 1),
        (Plain(bias=True), 1),
        (Plain(affine=False), 1),
        (Plain(bias=True).to(memory_format=torch.channels_last), 1),
        (nn.Sequential(Plain(), nn.Conv2d(8, 3, 1), Plain(bias=True)), 2),
        (Deep(), 20),
        (Branched(), 0),
        (Twice(), 0),
        (SharedNorm(), 0),
        (Standardised(), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
@torch.no_grad()
def test_folded_passes_are_equal_and_leave_the_network_unchanged(
    net: nn.Module, pairs: int
) -> None:
    net, x = prepared(net), torch.randn(4, 3, 9, 9)
    before, plain, calls = state_sha256(net.state_dict()), net(x), Calls()
    folded = FoldedNorms(lambda: net(x[:1]))
    with calls, folded:
        folded_output = net(x)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    shared = isinstance(net, SharedNorm)
    assert calls.norms == norms + shared - pairs
    assert torch.allclose(folded_output, plain, rtol=1e-5, atol=1e-5)
    assert state_sha256(net.state_dict()) == before
    assert torch.equal(net(x), plain)
    with FoldedNorms(lambda: net(x[:1])):
        assert torch.equal(net(x), folded_output), "folding the same network twice gives other bits"


@torch.no_grad()
def test_a_norm_in_train_mode_is_not_folded() -> None:
    net, x = prepared(Plain()).train(), torch.randn(4, 3, 9, 9)
    plain = net(x)
    with FoldedNorms(lambda: net(x)):
        assert torch.allclose(net(x), plain, atol=1e-6)


class Calls(torch.overrides.TorchFunctionMode):
    """Counts the batch norms that run: entered first, it sees calls that other modes pass on."""

    norms = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.norms += func is nn.functional.batch_norm
        return func(*args, **(kwargs or {}))
