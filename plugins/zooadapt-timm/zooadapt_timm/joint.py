"""Several linear heads whose logits a network averages, as one linear layer.

Heads `W_i x_i + b_i` that a network adds up with factors `a_i`, which sum to one, are one layer on
the features `[a_1 x_1, ..., a_m x_m]`: its weight is `[W_1, ..., W_m]`, and its bias is every
`b_i`. In a network that is joined each head gives way to a slot, which puts what it is given in its
place among zeros; what the network then computes are these features, on which a hook calls the
layer.
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
    """The network itself, with one head in the place of several."""
    heads = linear_heads(net)
    if len(heads) < 2:
        return net
    widths = [head.in_features for head in heads.values()]
    for k, path in enumerate(heads):
        net.set_submodule(path, _Slot(sum(widths[:k]), sum(widths[k + 1 :])))
    net.add_module(JOINT, nn.Linear(sum(widths), net.num_classes))
    net.register_forward_hook(_call_head)
    return net


def _call_head(net: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> Tensor:
    return net.get_submodule(JOINT)(features)


def joined(state: Mapping[str, Tensor], net: nn.Module, image: Tensor) -> Mapping[str, Tensor]:
    """The state of `net`, which has several heads, under the names of `join(net)`. Heads whose
    biases differ cost a run on an image `(1, C, H, W)`, whatever it shows, for their factors; ones
    that do not fit are left for the core to name."""
    heads = linear_heads(net)
    own = net.state_dict()
    there = {name for name, tensor in state.items()
             if name in own and tensor.shape == own[name].shape}  # fmt: skip
    weights, biases = ([f"{path}.{part}" for path in heads] for part in ("weight", "bias"))
    if not there.issuperset(weights + biases):
        return state
    bias = state[biases[0]]
    if not all(torch.equal(bias, state[other]) for other in biases):
        net.load_state_dict({name: state[name] for name in there}, strict=False)
        bias = _factors(net, image) @ torch.stack([state[name] for name in biases])
    rest = {k: tensor for k, tensor in state.items() if k.rpartition(".")[0] not in heads}
    weight = torch.cat([state[name] for name in weights], dim=1)
    return {**rest, f"{JOINT}.weight": weight, f"{JOINT}.bias": bias}


@torch.no_grad()
def _factors(net: nn.Module, image: Tensor) -> Tensor:
    """`(m,)`: what the network makes of its m heads' logits when each says which head it is."""
    heads = list(linear_heads(net).values())
    said = torch.eye(len(heads))
    hooks = [head.register_forward_hook(lambda module, inputs, logits, k=k: said[k : k + 1])
             for k, head in enumerate(heads)]  # fmt: skip
    try:
        return net(image)[0]
    finally:
        for hook in hooks:
            hook.remove()


def parted(state: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """The inverse of `joined`, each head with the one bias."""
    heads = linear_heads(net)
    native = dict(state)
    weight, bias = native.pop(f"{JOINT}.weight"), native.pop(f"{JOINT}.bias")
    parts = weight.split([head.in_features for head in heads.values()], dim=1)
    for path, part in zip(heads, parts, strict=True):
        native |= {f"{path}.weight": part.clone(), f"{path}.bias": bias.clone()}
    return native
