"""How one step moves the weights: rates by stage and time, clipping, decay, a running average."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.training.strategies import Recipe


class Optimizer:
    """Built once for all phases: unfreezing only lets gradients in, and a parameter without one is
    left alone, decay included."""

    def __init__(self, groups: list[dict[str, Any]], recipe: Recipe) -> None:
        """groups: as `Objective.parameter_groups` gives them."""
        self._inner: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            for group in groups:
                group["share"] *= 10
            self._inner = torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=True)
        else:
            self._inner = torch.optim.AdamW(groups, fused=True)
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        self._clip, self._l2sp, self._ema, self._steps = recipe.clip, recipe.l2sp, recipe.ema, 0
        head = max(group["stage"] for group in groups)
        pulled = [group for group in groups if recipe.l2sp and group["stage"] < head]
        self._source = [(p, p.detach().clone()) for group in pulled for p in group["params"]]
        self._average = [p.detach().clone() for p in self.parameters] if recipe.ema else []

    def step(self, rate: float) -> None:
        """Move the parameters along their gradients and forget these. rate: of the head; a stage
        takes its share of it."""
        for group in self._inner.param_groups:
            group["lr"] = group["share"] * rate
        nn.utils.clip_grad_norm_(self.parameters, self._clip)
        self._inner.step()
        if self._source:
            self._pull_back()
        self._inner.zero_grad(set_to_none=True)
        self._steps += 1
        if self._average:
            # Early on the average follows closely, or it would remember the start for too long.
            decay = min(self._ema, (1 + self._steps) / (10 + self._steps))
            with torch.no_grad():
                torch._foreach_lerp_(self._average, list(self.parameters), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters are their running average, if one is kept."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs, by name."""
        tensors = {f"average.{k}": tensor for k, tensor in enumerate(self._average)}
        tensors["steps"] = torch.tensor(self._steps)
        for number, slots in self._inner.state_dict()["state"].items():
            tensors |= {f"{number}.{slot}": t for slot, t in slots.items() if t is not None}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`. A slot that is shaped as its parameter is laid out in memory as
        that one, too: fused steps walk through both side by side."""
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            number, _, slot = name.partition(".")
            if name == "steps":
                self._steps = int(tensor)
            elif number == "average":
                self._average[int(slot)].copy_(tensor)
            else:
                parameter = self.parameters[int(number)]
                if tensor.shape == parameter.shape:
                    tensor = torch.empty_like(parameter).copy_(tensor)
                slots.setdefault(int(number), {})[slot] = tensor
        self._inner.load_state_dict(self._inner.state_dict() | {"state": slots})

    @torch.no_grad()
    def _pull_back(self) -> None:
        """Decoupled decay towards the source's weights (L2-SP, Li et al. 2018, arXiv 1802.01483),
        for what this step moved."""
        rates = {id(p): group["lr"] for group in self._inner.param_groups for p in group["params"]}
        for parameter, start in self._source:
            if parameter.grad is not None:
                parameter.lerp_(start, min(1.0, rates[id(parameter)] * self._l2sp))

    def _swap(self) -> None:
        for k, average in enumerate(self._average):
            parameter = self.parameters[k]
            self._average[k], parameter.data = parameter.data, average


def cosine(step: float, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def slanted(step: float, steps: int, warmup: float) -> float:
    """Slanted triangle between the peak and a 32nd of it (Howard & Ruder, ACL 2018)."""
    rising = steps * warmup
    share = step / rising if step < rising else (steps - step) / (steps - rising)
    return (1 + 31 * share) / 32
