"""LoRA: only the update moves, and merged it is the network's own form again."""

from __future__ import annotations

import pytest
import torch

from zooadapt.backbone.pretrained import build
from zooadapt.errors import UsageError
from zooadapt.training import lora
from zooadapt.zoo.sources import open_source


def test_merged_the_network_has_its_own_names_and_gives_what_it_gave_with_the_update():
    model = build(open_source("digits04"), classes=("a", "b"))
    chain, inputs = model.chain, model.preprocessor.config()["input_size"]
    before = {name: t.clone() for name, t in chain.net.state_dict().items()}
    cut = chain.depth - 1
    modules = lora.attach(chain, cut, rank=2, seed=0)
    chain.freeze(cut, tune="lora")
    chain.eval()
    trained = [p for p in chain.net.parameters() if p.requires_grad]
    carry = {"x": torch.rand(4, *inputs)}
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        chain.logits(carry).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            chain.head.weight.add_(0.1)
    with torch.no_grad():
        given = chain.logits(carry)
        lora.merge(modules)
        torch.testing.assert_close(chain.logits(carry), given, rtol=1e-5, atol=1e-6)
    after = chain.net.state_dict()
    assert set(after) == set(before)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    own = {name for name in before if chain.stage_of(name) == cut and before[name].ndim > 1}
    assert moved - {f"{chain.head_path}.weight", f"{chain.head_path}.bias"} <= own
    assert moved & own


def test_a_stage_without_layers_for_it_is_refused_by_name():
    chain = build(open_source("digits04"), classes=("a", "b")).chain
    with pytest.raises(UsageError, match="LoRA needs linear layers"):
        lora.attach(chain, chain.depth, rank=2, seed=0)
