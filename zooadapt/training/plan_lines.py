"""A plan in sentences."""

from __future__ import annotations

from typing import Any

from zooadapt.runtime.wording import counted


def plan_lines(plan: Any, estimate: Any) -> list[str]:
    """The plan step by step, each automatic choice with its reason, and what it will cost."""
    steps = plan_steps(plan)
    if len(steps) == 1:
        lines = [f"plan: {plan.strategy} = {steps[0]}"]
    else:
        lines = [f"plan: {plan.strategy}, in {len(steps)} steps"]
        lines += [f"      {number}. {step}" for number, step in enumerate(steps, 1)]
    lines.append(
        f"      {plan.train_samples} samples, {plan.num_classes} classes, on {plan.device}"
    )
    lines += [f"      {c.what}: {c.value} ({c.why})" for c in plan.choices]
    if estimate is not None:
        lines.append(
            f"      {_between(estimate)} s, {estimate.memory_bytes / 1e6:.0f} MB of "
            f"memory, {estimate.disk_bytes / 1e6:.0f} MB of disk, "
            f"{counted(estimate.steps, 'optimiser step')}"
        )
    return lines


def plan_steps(plan: Any) -> list[str]:
    """What a run does, a sentence for each phase of its plan."""
    steps: list[str] = []
    for phase in plan.phases:
        if phase.kind == "solve":
            steps.append("fit the head on frozen features")
            continue
        rate = f"learning rate {phase.lr:g}"
        if phase.when == "lost":
            steps.append(
                f"if step {len(steps)} does not lower the validation loss, repeat it from the "
                f"fitted head at {rate}"
            )
            continue
        condition = {
            "always": "",
            "in doubt": "unless the features of all stages already predict a gain, ",
            "gained": "if fine-tuning lowers the validation loss, ",
        }[phase.when]
        steps.append(f"{condition}fine-tune {phase.tuned(plan.depth)}, {rate}")
    if plan.refit and plan.trained:
        steps.append("continue training on all labels, those held out for validation included")
    return steps


def _between(estimate: Any) -> str:
    least, most = f"{estimate.least_seconds:.0f}", f"{estimate.seconds:.0f}"
    return f"about {most}" if least == most else f"{least} to {most}"
