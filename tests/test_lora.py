"""LoRA: only the update moves, and merged it is the network's own form again."""

from __future__ import annotations

import pytest
import torch

from zooadapt.backbone.pretrained import build
from zooadapt.errors import UsageError
from zooadapt.tasks import of_classes
from zooadapt.training import lora
from zooadapt.zoo.sources import open_source


def test_merging_keeps_names_and_logits():
    model = build(open_source("digits04"), task=of_classes(("a", "b")))
    backbone, inputs = model.backbone, model.preprocessor.config()["input_size"]
    before = {name: t.clone() for name, t in backbone.net.state_dict().items()}
    freeze_at = backbone.depth - 1
    modules = lora.attach(backbone, freeze_at, rank=2, seed=0)
    backbone.freeze(freeze_at, tune="lora")
    backbone.eval()
    trained = [p for p in backbone.net.parameters() if p.requires_grad]
    activations = {"x": torch.rand(4, *inputs)}
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        backbone.logits(activations).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            backbone.head.weight.add_(0.1)
    with torch.no_grad():
        logits = backbone.logits(activations)
        lora.merge(modules)
        torch.testing.assert_close(backbone.logits(activations), logits, rtol=1e-5, atol=1e-6)
    after = backbone.net.state_dict()
    assert set(after) == set(before)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    own = {
        name for name in before if backbone.stage_of(name) == freeze_at and before[name].ndim > 1
    }
    assert moved - {f"{backbone.head_path}.weight", f"{backbone.head_path}.bias"} <= own
    assert moved & own


def test_stages_without_linear_layers_are_refused_by_name():
    backbone = build(open_source("digits04"), task=of_classes(("a", "b"))).backbone
    with pytest.raises(UsageError, match="LoRA needs linear layers"):
        lora.attach(backbone, backbone.depth, rank=2, seed=0)
