"""What a run concludes: its findings, put together once its model is chosen and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zooadapt.data import Split
from zooadapt.data.splits import TEST, TRAIN, VAL
from zooadapt.heads.findings import Findings
from zooadapt.heads.text_baseline import measure_baselines
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted
from zooadapt.tasks import metrics
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.metrics import Comparison
from zooadapt.tasks.task import Task
from zooadapt.training.head_fitter import HeadFitter
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import AUTO


def findings(
    plan: Plan,
    fitter: HeadFitter,
    splits: Mapping[str, Split],
    predicted: Mapping[str, np.ndarray],
    measured: Mapping[str, Figures],
    *,
    temperature: float | None,
    was_to_train: bool,
) -> Findings:
    """What there is to say beside the scores. predicted: the answers of each baseline and of
    the model on the samples the baselines were measured on, and the model's of other parts;
    measured: the baselines; was_to_train: whether the plan was to train, whatever came of it."""
    model, part = model_answers(predicted), VAL if VAL in splits else TRAIN
    task, truth = fitter.task, fitter.labels(part)
    comparisons = [
        metrics.compare(name, task.errors(model, truth), task.errors(predicted[name], truth))
        for name in measured
        if predicted[name] is not model
    ]
    text_baselines = measure_baselines(
        fitter.parts_beside({**predicted, part: model}),
        task=task,
        seed=plan.seed,
    )
    new = not splits[part].learned.all()  # a source tells nothing of samples that it has learned
    return Findings(
        baselines=measured,
        comparisons=comparisons if new else [],
        conclusion=conclusion(plan, task, comparisons) if was_to_train and new else None,
        label_issues=fitter.label_issues if new else None,
        action=plan.suspects,
        changed=fitter.changed,
        curve=fitter.curve() if new else None,
        temperature=temperature,
        text_baselines=text_baselines
        if new
        else [one.on(TEST) for one in text_baselines if TEST in one.metrics],
    )


def conclusion(plan: Plan, task: Task, comparisons: Sequence[Comparison]) -> str | None:
    """What came of a training that `auto` had planned, and what to do next time; None for another
    strategy."""
    if plan.strategy != AUTO:
        return None
    if not plan.trained and plan.from_scratch:
        return (
            f"conclusion: the source's features tell less of these {task.noun[1]} than those of "
            "the same network with random weights; next time: another source"
        )
    if not plan.trained:
        return (
            "conclusion: the linear probe would have done; next time: --strategy probe, which "
            "takes seconds"
        )
    beside = next((one for one in comparisons if one.name == "probe"), None)
    if beside is None:
        return None
    if beside.significant and beside.better > beside.worse:
        return (
            f"conclusion: training paid; on {counted(beside.n, 'held-out sample')} it alone is "
            f"{task.nearer} {beside.better}, the linear probe alone about {beside.worse}"
        )
    return (
        f"conclusion: on {counted(beside.n, 'held-out sample')} training is not significantly "
        "better than the linear probe; --strategy probe takes seconds"
    )


def model_answers(predicted: Mapping[str, np.ndarray]) -> np.ndarray:
    """The exported model's answers where the baselines were measured."""
    return predicted["model"] if "model" in predicted else predicted["probe"]


def harm(error: float, probe: float) -> Choice | None:
    """That training harmed, by the mean error on the held-out samples, where it did."""
    if error <= probe:
        return None
    why = f"mean error {error:.3f} on the held-out samples, {probe:.3f} without it"
    return Choice(what="training", value="made it worse than the linear probe", why=why)
