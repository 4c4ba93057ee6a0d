"""Several linear heads whose logits a network averages, as one linear layer.

Heads `W_i x_i + b_i` that a network adds with factors `a_i`, which sum to one, are one layer on the
features `[a_1 x_1, ..., a_m x_m]`: its weight is `[W_1, ..., W_m]`, and its bias is every `b_i`. In
a joined network a slot replaces each head: it puts its input in its place among zeros. The network
then computes these features, on which a hook calls the layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zooadapt_timm.head import JOINT, linear_heads


class _Slot(nn.Module):
    """`(N, D)` among zeros, `(N, before + D + after)`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self._padding = (before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._padding)

    def extra_repr(self) -> str:
        return "before={}, after={}".format(*self._padding)


def join(net: nn.Module) -> nn.Module:
    """The network itself, with one head in place of several."""
    heads = linear_heads(net)
    if len(heads) < 2:
        return net
    widths = _widths(net)
    for k, path in enumerate(heads):
        net.set_submodule(path, _Slot(sum(widths[:k]), sum(widths[k + 1 :])))
    net.add_module(JOINT, nn.Linear(sum(widths), next(iter(heads.values())).weight.shape[0]))
    net.register_forward_hook(_call_head)
    return net


def _call_head(net: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> Tensor:
    logits: Tensor = net.get_submodule(JOINT)(features)
    return logits


def _widths(net: nn.Module) -> list[int]:
    return [head.weight.shape[1] for head in linear_heads(net).values()]


def joined(state: Mapping[str, Tensor], net: nn.Module, image: Tensor) -> Mapping[str, Tensor]:
    """The state of `net`, which has several heads, under the names of `join(net)`. If the heads'
    biases differ, a run on any image `(1, C, H, W)` gives their factors. The core names heads that
    do not fit."""
    heads = linear_heads(net)
    own = net.state_dict()
    fitting = {name for name, tensor in state.items()
               if name in own and tensor.shape == own[name].shape}  # fmt: skip
    weights, biases = ([f"{path}.{part}" for path in heads] for part in ("weight", "bias"))
    if not fitting.issuperset(weights + biases):
        return state
    bias = state[biases[0]]
    if not all(torch.equal(bias, state[other]) for other in biases):
        net.load_state_dict({name: state[name] for name in fitting}, strict=False)
        bias = _factors(net, image) @ torch.stack([state[name] for name in biases])
    rest = {k: tensor for k, tensor in state.items() if k.rpartition(".")[0] not in heads}
    weight = torch.cat([state[name] for name in weights], dim=1)
    return {**rest, f"{JOINT}.weight": weight, f"{JOINT}.bias": bias}


@torch.no_grad()
def _factors(net: nn.Module, image: Tensor) -> Tensor:
    """`(m,)`: the network's output when the logits of its m heads are unit vectors."""
    heads = list(linear_heads(net).values())
    units = torch.eye(len(heads))
    hooks = [head.register_forward_hook(lambda module, inputs, logits, k=k: units[k : k + 1])
             for k, head in enumerate(heads)]  # fmt: skip
    try:
        factors: Tensor = net(image)[0]
        return factors
    finally:
        for hook in hooks:
            hook.remove()


def separated(state: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """The inverse of `joined`; every head gets the same bias."""
    heads = linear_heads(net)
    native = dict(state)
    weight, bias = native.pop(f"{JOINT}.weight"), native.pop(f"{JOINT}.bias")
    parts = torch.split(weight, _widths(net), dim=1)
    for path, part in zip(heads, parts, strict=True):
        native |= {f"{path}.weight": part.clone(), f"{path}.bias": bias.clone()}
    return native
