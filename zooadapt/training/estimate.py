"""What a plan will cost on this machine: seconds, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass

from zooadapt.backbone.engine import ROWS
from zooadapt.training import strategies
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.plan import Plan
from zooadapt.training.policy import Policy
from zooadapt.training.strategies import LOST


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan will cost on this machine, if nothing of it is in the cache yet."""

    seconds: float
    """With every phase that may come, to its last epoch or to the end of the budget; what came
    before the plan included."""
    least_seconds: float
    """If every phase stops as early as it can, and none is earned by a gain; without any, where a
    fitted head may be kept as it is."""
    memory_bytes: int
    disk_bytes: int
    """The export and the stored activations."""
    steps: int
    frozen_stages: int


def estimate(
    plan: Plan,
    policy: Policy,
    costs: Costs,
    sizes: Sizes,
    *,
    weights: int,
    decoded: int,
    spent: float,
    budget: float,
) -> Estimate:
    """The costs of a plan, from those of one sample and from what the policy may decide on the way.

    weights: bytes of the network's state; decoded: bytes of decoded samples that each part of the
    data may keep; spent: seconds until now; budget: seconds after which nothing more is trained."""
    around = spent + costs.passes(sizes.everything)
    around += costs.passes(policy.untrained_samples(plan, sizes.train))
    evaluated = policy.compared(plan) * sizes.val + sizes.test
    around += evaluated * costs.through(plan.freeze_at)
    epoch = [costs.epoch(phase.freeze_at, sizes) for phase in plan.trained]
    patience = plan.recipe.patience
    whole = [phase.epochs * s for phase, s in zip(plan.trained, epoch, strict=True)]
    least = [
        min(phase.epochs, patience or phase.epochs) * s
        for phase, s in zip(plan.trained, epoch, strict=True)
    ]
    refit = 0.0
    if plan.refit and plan.trained:
        last = strategies.refit(plan.trained[-1])
        refit = costs.refit(last.freeze_at, last.epochs, sizes)
    end = max(around, budget)
    return Estimate(
        seconds=min(around + policy.longest(plan, whole, refit), end),
        least_seconds=min(around + policy.shortest(plan, least, refit), end),
        memory_bytes=_memory(plan, policy, costs, sizes, weights=weights, decoded=decoded),
        disk_bytes=_stored(plan, costs, sizes) + weights,
        steps=sizes.steps * sum(phase.epochs for phase in plan.trained if phase.when != LOST),
        frozen_stages=plan.freeze_at,
    )


def _memory(
    plan: Plan, policy: Policy, costs: Costs, sizes: Sizes, *, weights: int, decoded: int
) -> int:
    copies = 1 + plan.recipe.soup + 2 * policy.chooses if plan.trained else 0
    parts = (sizes.train, sizes.val, sizes.test)
    raw = sum(min(decoded, samples * costs.sample_bytes) for samples in parts)
    head = 0
    if plan.fits_head:
        # All features, and the temporaries in float64 of the rows that are taken at once.
        features = costs.activation_bytes[-1]
        head = (sizes.train + sizes.val + 8 * min(sizes.train, ROWS)) * features
    return costs.peak_bytes + copies * weights + raw + head


def _stored(plan: Plan, costs: Costs, sizes: Sizes) -> int:
    """Bytes of activations at every freeze point of the plan."""
    points = {phase.freeze_at for phase in plan.trained}
    points |= {plan.depth} if plan.fits_head else set()
    return sum(sizes.everything * costs.activation_bytes[k - 1] for k in points if k)
