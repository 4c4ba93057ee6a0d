"""What a plan will cost on this machine: seconds, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass

from zooadapt.backbone.engine import ROWS
from zooadapt.training import policy, strategies, transferability
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import AUTO, GAINED, LOST


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
    """The export and the stored carries."""
    steps: int
    frozen_stages: int


def estimate(
    plan: Plan,
    costs: Costs,
    sizes: Sizes,
    *,
    weights: int,
    kept: int,
    spent: float,
    budget: float,
) -> Estimate:
    """The costs of a plan, from those of one sample; weights: bytes of the network's state; kept:
    bytes of decoded samples that each part of the data may keep; spent: seconds until now; budget:
    seconds after which nothing more is trained."""
    freeze_points = {phase.freeze_at for phase in plan.trained} | (
        {plan.depth} if plan.fits_head else set()
    )
    epochs = sum(phase.epochs for phase in plan.trained if phase.when != LOST)
    chosen = 1 + len(policy.WEIGHTS) if plan.strategy == AUTO and plan.trained else 1
    around = spent + costs.passes(sizes.everything)
    if plan.may_leave_source:
        # Some of them go through the network untrained, too.
        around += costs.passes(min(sizes.train, transferability.COMPARED))
    around += (chosen * sizes.val + sizes.test) * costs.through(plan.freeze_at)
    training = [phase.epochs * costs.epoch(phase.freeze_at, sizes) for phase in plan.trained]
    deep = next((k for k, phase in enumerate(plan.trained) if phase.when == GAINED), 0)
    shortest = sum(
        min(phase.epochs, plan.recipe.patience or phase.epochs)
        * costs.epoch(phase.freeze_at, sizes)
        for phase in plan.trained
        if phase.when not in (GAINED, LOST)
    )
    if plan.strategy == AUTO and plan.fits_head:
        shortest = 0.0  # a fitted head that is right on all held-out samples is not trained on
    again = 0.0
    if plan.refit and plan.trained:
        last = strategies.refit(plan.trained[-1])
        again = costs.refit(last.freeze_at, last.epochs, sizes)
        shortest += 0.0 if plan.strategy == AUTO else again  # a solved head needs none
    stored = sum(
        sizes.everything * costs.activation_bytes[freeze_at - 1]
        for freeze_at in freeze_points
        if freeze_at
    )
    copies = (1 + plan.recipe.soup + 2 * (plan.strategy == AUTO)) if plan.trained else 0
    parts = (sizes.train, sizes.val, sizes.test)
    decoded = sum(min(kept, samples * costs.sample_bytes) for samples in parts)
    fitter = 0
    if plan.fits_head:
        # All features, and the temporaries in float64 of the rows that are taken at once.
        features = costs.activation_bytes[-1]
        fitter = (sizes.train + sizes.val + 8 * min(sizes.train, ROWS)) * features
    # Either all that is tried first and what that earned, or that at once, and again.
    longest = max(sum(training[: deep + 1]), sum(training[deep:])) + again
    end = max(around, budget)
    return Estimate(
        seconds=min(around + longest, end),
        least_seconds=min(around + shortest, end),
        memory_bytes=costs.peak_bytes + copies * weights + decoded + fitter,
        disk_bytes=stored + weights,
        steps=epochs * sizes.steps,
        frozen_stages=plan.freeze_at,
    )
