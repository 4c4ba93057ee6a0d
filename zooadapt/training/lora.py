"""Low-rank updates beside frozen weights, merged into them in the end (LoRA, Hu et al. 2022, arXiv
2106.09685).

torch's own parametrisation, since it leaves every module in place: a traced network goes on using
the modules that it was traced with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import UsageError


class LowRank(nn.Module):
    """A weight with `up @ down` added, which is zero at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        down = torch.randn(rank, columns, generator=generator) / math.sqrt(columns)
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def attach(backbone: StagedBackbone, freeze_at: int, *, rank: int, seed: int) -> list[nn.Module]:
    """Give every linear layer and every convolution over all channels from `freeze_at` on a
    low-rank update, the head excepted; the modules that have one now.

    Raises: UsageError where there is no such layer.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [
        module
        for name, module in backbone.net.named_modules()
        if name != backbone.head_path
        and _suits(module)
        and backbone.stage_of(f"{name}.weight") >= freeze_at
    ]
    if not layers:
        stages = ", ".join(stage.name for stage in backbone.stages[freeze_at:])
        raise UsageError(
            f"LoRA needs linear layers or convolutions, and there are none in {stages}",
            thing="--tune lora",
            remedy="--tune all, norm or bias",
        )
    for module in layers:
        update = LowRank(module.weight, rank, generator)
        parametrize.register_parametrization(module, "weight", update)
    return layers


def merge(modules: list[nn.Module]) -> None:
    """Add the updates to the weights; the network's modules and names are what they were."""
    for module in modules:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _suits(module: nn.Module) -> bool:
    linear = isinstance(module, nn.Linear)
    return linear or (isinstance(module, nn.Conv2d) and module.groups == 1)
