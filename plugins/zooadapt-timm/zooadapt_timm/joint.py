"""Several linear heads whose logits a network averages, as one linear layer.

Heads `W_i x_i + b_i` that a network adds up with factors `a_i`, which sum to one, are one layer on
the features `[a_1 x_1, ..., a_m x_m]`: its weight is `[W_1, ..., W_m]`, and its bias is every
`b_i`. In a network that is joined each head gives way to a slot, which puts what it is given in its
place among zeros; what the network then computes of its heads are these features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zooadapt_timm.head import linear_heads

PATH = "joint_head"


class _Slot(nn.Module):
    """`(N, D)` among zeros, `(N, before + D + after)`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self._padding = (before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._padding)

    def extra_repr(self) -> str:
        return "before={}, after={}".format(*self._padding)


class _Joined(nn.Module):
    def get_classifier(self) -> nn.Module:
        return self.get_submodule(PATH)

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(PATH)(super().forward(x))


def join(net: nn.Module) -> nn.Module:
    """The network itself, with one head in the place of several."""
    heads = linear_heads(net)
    if len(heads) < 2:
        return net
    widths = [head.in_features for head in heads.values()]
    for k, path in enumerate(heads):
        net.set_submodule(path, _Slot(sum(widths[:k]), sum(widths[k + 1 :])))
    net.add_module(PATH, nn.Linear(sum(widths), net.num_classes))
    net.__class__ = type(type(net).__name__, (_Joined, type(net)), {})
    return net


def joined(state: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """The state of `net` under the names of `join(net)`. Heads whose biases differ, which no export
    has, are left out."""
    heads = linear_heads(net)
    if len(heads) < 2:
        return state
    weights, biases = ([state.get(f"{path}.{part}") for path in heads]
                       for part in ("weight", "bias"))  # fmt: skip
    rest = {k: tensor for k, tensor in state.items() if k.rpartition(".")[0] not in heads}
    there = all(tensor is not None for tensor in weights + biases)
    if not there or not all(torch.equal(bias, biases[0]) for bias in biases):
        return rest
    return {**rest, f"{PATH}.weight": torch.cat(weights, dim=1), f"{PATH}.bias": biases[0]}


def parted(state: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """The inverse of `joined`."""
    heads = linear_heads(net)
    if len(heads) < 2:
        return state
    native = dict(state)
    weight, bias = native.pop(f"{PATH}.weight"), native.pop(f"{PATH}.bias")
    parts = weight.split([head.in_features for head in heads.values()], dim=1)
    for path, part in zip(heads, parts, strict=True):
        native |= {f"{path}.weight": part.clone(), f"{path}.bias": bias.clone()}
    return native
