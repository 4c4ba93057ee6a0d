"""Two optimiser steps from a cut, and what they changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from zooadapt.chain import Chain
from zooadapt.family import Carry

_STEPS = 2
_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Training:
    """What training from a cut did: entries of the state that should have stayed and moved, and
    parameters that should have moved and stayed."""

    cut: int
    leaked: tuple[str, ...]
    stuck: tuple[str, ...]


def train(chain: Chain, cut: int, carry: Carry) -> Training:
    """Two optimiser steps from `cut` on one batch. By the gradient's sign alone, as Adam's first
    step is: importing `torch.optim` takes longer than all the checks of a small network."""
    chain.freeze(cut)
    chain.train()
    frozen = {name: tensor.clone() for name, tensor in chain.frozen_state().items()}
    trained = {
        name: parameter.detach().clone()
        for name, parameter in chain.net.named_parameters()
        if chain.stage_of(name) >= cut
    }
    rows = len(next(iter(carry.values())))
    for _ in range(_STEPS):
        logits = chain.logits({name: tensor.clone() for name, tensor in carry.items()})
        labels = torch.arange(rows) % logits.shape[1]
        chain.net.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits, labels).backward()
        with torch.no_grad():
            for parameter in chain.net.parameters():
                if parameter.grad is not None:
                    parameter -= _RATE * parameter.grad.sign()
    after = chain.net.state_dict()
    parameters = dict(chain.net.named_parameters())
    return Training(
        cut=cut,
        leaked=tuple(name for name, old in frozen.items() if not torch.equal(old, after[name])),
        stuck=tuple(name for name, old in trained.items() if torch.equal(old, parameters[name])),
    )
