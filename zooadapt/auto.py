"""`--strategy auto`: how deep and how long to train, from measured costs and the time there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zooadapt.chain import Chain
from zooadapt.costs import Costs
from zooadapt.strategy import Choice, Phase, Solve, Train

BUDGET = 600.0
"""Seconds that a run may take if nobody says otherwise."""
SCOUT = 2 / 3
"""Share of the stages that stay frozen while it is tried out, cheaply, whether training pays."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the trained weights among the candidates between the solved model and the trained one
(WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903)."""
_EPOCHS = 12
_LEAST_STEPS = 100
_RATE = 1e-3
_MARGIN = 0.8
"""Share of the time that may be planned: a machine is not always as fast as it was."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Samples to train on, to compare on and to test on, and those of one step."""

    train: int
    val: int
    test: int
    batch: int


def phases(
    chain: Chain, costs: Costs, sizes: Sizes, *, steps: int, most_epochs: int, seconds: float
) -> tuple[tuple[Phase, ...], list[Choice]]:
    """Solve the head, then train from the deepest cut that `seconds` allow enough steps for.

    steps: how many make a training of full length; fewer are taken where time is short, down to a
    point from which training is left out. Each choice comes with the measured fact it rests on.
    """
    per_epoch = math.ceil(sizes.train / sizes.batch)
    wanted = min(most_epochs, max(_EPOCHS, math.ceil(steps / per_epoch)))
    least = min(wanted, math.ceil(_LEAST_STEPS / per_epoch))
    everything = sizes.train + sizes.val + sizes.test
    left = _MARGIN * (seconds - costs.passes(everything))
    for cut in range(chain.depth):
        epoch = costs.epoch(
            cut, samples=sizes.train, held_out=sizes.val, batch_size=sizes.batch
        )  # fmt: skip
        chosen = left - (len(WEIGHTS) * sizes.val + sizes.test) * costs.through(cut)
        epochs = min(wanted, int(chosen / epoch)) if chosen > 0 else 0
        if epochs >= least:
            name = chain.stages[cut].name
            why = (
                f"an epoch from there takes {epoch:.1f} s of the {left:.0f} s there are for "
                f"training, {wanted} epochs are wanted"
            )
            choice = Choice(what="train", value=f"from {name} for {epochs} epochs", why=why)
            return (Solve(), Train(cut=name, epochs=epochs, lr=_RATE)), [choice]
    why = f"{max(left, 0):.0f} s are left after the features, too few for {least} epochs"
    return (Solve(),), [Choice(what="train", value="nothing but the head", why=why)]


def simplest(losses: list[Tensor]) -> tuple[int, float, float]:
    """The candidate to take, of several in order of simplicity, by their losses on the same
    samples, `(n,)` each: the one of the lowest mean, or the first if it is not worse by more than
    the standard error of their paired difference. With it, that difference and that error."""
    best = min(range(len(losses)), key=lambda k: float(losses[k].mean()))
    gap = losses[0] - losses[best]
    noise = float(gap.std() / math.sqrt(len(gap))) if len(gap) > 1 else math.inf
    gain = float(gap.mean())
    return (best if gain > noise else 0), gain, noise


def blend(solved: dict[str, Tensor], trained: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The state between two of one network, `share` of the way to the trained one."""
    return {
        name: torch.lerp(tensor, trained[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in solved.items()
    }
