"""What a run concludes: its findings, put together once its model is chosen and measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zooadapt import metrics
from zooadapt.data import Split
from zooadapt.findings import Findings
from zooadapt.metrics import Metrics
from zooadapt.plan import Plan
from zooadapt.rivals import compete
from zooadapt.solving import TRAIN, VAL, Solving
from zooadapt.strategy import Choice


def findings(
    plan: Plan,
    solving: Solving,
    splits: Mapping[str, Split],
    predicted: Mapping[str, np.ndarray],
    measured: Mapping[str, Metrics],
    *,
    temperature: float | None,
) -> Findings:
    """What there is to say beside the scores. predicted: the classes that each baseline and the
    model answered on the samples the baselines were measured on, and the model's of other parts;
    measured: the baselines."""
    model, part = model_answers(predicted), VAL if VAL in splits else TRAIN
    truth = solving.given(part)
    return Findings(
        baselines=measured,
        comparisons=[
            metrics.compare(name, model == truth, predicted[name] == truth)
            for name in measured
            if predicted[name] is not model
        ],
        suspects=solving.suspects,
        treatment=plan.suspects,
        changed=solving.changed,
        curve=solving.curve(),
        temperature=temperature,
        matches=compete(splits, solving, {**predicted, part: model}, plan),
    )


def model_answers(predicted: Mapping[str, np.ndarray]) -> np.ndarray:
    """The exported model's classes where the baselines were measured."""
    return predicted["model"] if "model" in predicted else predicted["probe"]


def harm(accuracy: float, probe: float) -> Choice | None:
    """That training harmed, by accuracy on the held-out samples, where it did."""
    if accuracy >= probe:
        return None
    why = f"accuracy {accuracy:.3f} on the held-out samples, {probe:.3f} without it"
    return Choice(what="training", value="made it worse than the linear probe", why=why)
