"""Two optimiser steps from a freeze point, and what they changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.family import Activations

_RATES = (1e-3, 5e-4)
"""One for each step, so that the second cannot undo the first."""
_NOISE = 1e-6
"""A gradient this small, relative to the network's largest, is zero up to rounding."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The faults of training from a freeze point: frozen entries of the state that changed, and
    trained parameters that did not."""

    freeze_at: int
    leaked: tuple[str, ...]
    stuck: tuple[str, ...]


def network_logits(net: nn.Module, activations: Activations) -> Tensor:
    """`(N, K)` of the network's own forward, which gives a tensor or an object with `.logits`."""
    output = net(**activations)
    logits: Tensor = getattr(output, "logits", output)
    return logits


def parameters_with_gradient(net: nn.Module, activations: Activations) -> frozenset[str]:
    """Parameters that get a gradient when the network is trained by its own forward. Parameters of
    another task, or that a softmax cancels, such as the bias of attention keys, get none."""
    net.requires_grad_(True).train()
    _backward(net, network_logits(net, activations))
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    sizes = {name: float(grad.abs().max()) for name, grad in grads.items() if grad is not None}
    return frozenset(name for name, size in sizes.items() if size > _NOISE * max(sizes.values()))


def train(
    backbone: StagedBackbone, freeze_at: int, activations: Activations, trainable: frozenset[str]
) -> Training:
    """Two optimiser steps from `freeze_at` on one batch, by the gradient's sign, like Adam's first
    step: importing `torch.optim` takes longer than all the checks of a small network. trainable:
    the parameters that should change unless they are frozen."""
    torch.manual_seed(0)
    backbone.freeze(freeze_at)
    backbone.train()
    frozen = {name: tensor.clone() for name, tensor in backbone.frozen_state().items()}
    trained = {
        name: parameter.detach().clone()
        for name, parameter in backbone.net.named_parameters()
        if name in trainable and backbone.stage_of(name) >= freeze_at
    }
    for rate in _RATES:
        _backward(
            backbone.net,
            backbone.logits({name: tensor.clone() for name, tensor in activations.items()}),
        )
        with torch.no_grad():
            for parameter in backbone.net.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad.sign())
    after = backbone.net.state_dict()
    parameters = dict(backbone.net.named_parameters())
    return Training(
        freeze_at=freeze_at,
        leaked=tuple(name for name, old in frozen.items() if not torch.equal(old, after[name])),
        stuck=tuple(name for name, old in trained.items() if torch.equal(old, parameters[name])),
    )


def _backward(net: nn.Module, logits: Tensor) -> None:
    net.zero_grad(set_to_none=True)
    labels = torch.arange(len(logits)) % logits.shape[1]
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
