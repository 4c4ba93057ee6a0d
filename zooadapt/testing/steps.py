"""Two optimiser steps from a cut, and what they changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from zooadapt.chain import Chain
from zooadapt.family import Carry

_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Training:
    """What training from a cut did: entries of the state that should have stayed and moved, and
    parameters that should have moved and stayed."""

    cut: int
    leaked: tuple[str, ...]
    stuck: tuple[str, ...]


def train(chain: Chain, cut: int, carry: Carry) -> Training:
    """Two AdamW steps from `cut` on one batch, as the core trains."""
    chain.freeze(cut)
    chain.train()
    frozen = {name: tensor.clone() for name, tensor in chain.frozen_state().items()}
    trained = {
        name: parameter.detach().clone()
        for name, parameter in chain.net.named_parameters()
        if chain.stage_of(name) >= cut
    }
    rows = len(next(iter(carry.values())))
    optimizer = torch.optim.AdamW(
        [p for p in chain.net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0
    )
    for _ in range(_STEPS):
        logits = chain.logits({name: tensor.clone() for name, tensor in carry.items()})
        labels = torch.arange(rows) % logits.shape[1]
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
    after = chain.net.state_dict()
    parameters = dict(chain.net.named_parameters())
    return Training(
        cut=cut,
        leaked=tuple(name for name, old in frozen.items() if not torch.equal(old, after[name])),
        stuck=tuple(name for name, old in trained.items() if torch.equal(old, parameters[name])),
    )
