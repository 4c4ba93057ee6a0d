"""What to do where a model without a network beats the exported one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zooadapt.errors import ZooadaptError
from zooadapt.heads.learning_curve import Curve
from zooadapt.heads.text_baseline import BaselineResult
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.task import Task
from zooadapt.zoo import catalogue, registry
from zooadapt.zoo.sources import Source

_MOST_TIMES = 50
"""A learning curve over eight times the labels tells nothing of more times as many."""
_FEW = 3
_ALL = 1_000_000
_PARTS = {"test": "test samples", "val": "samples that it did not learn from"}


@dataclass(frozen=True, kw_only=True)
class Defeat:
    """The exported model is significantly worse than a baseline."""

    name: str
    """The baseline's."""
    measured_on: str
    """`test` or `val`."""
    sentence: str


def defeat(
    results: Sequence[BaselineResult],
    scores: Mapping[str, Figures],
    *,
    task: Task,
    metric: str,
    curve: Curve | None,
    samples: int,
    stronger: Sequence[str],
) -> Defeat | None:
    """The baseline that is significantly better than the exported model, if one is, and what to do
    about it. Of the parts they were both measured on the larger one decides.

    scores: the model's, by the same keys as the results'; metric: what it was chosen for, in which
    the baseline has to be ahead too; curve: of the model's own accuracy, None where it has none;
    samples: how many it learned from; stronger: sources to try.
    """
    for result in results:
        part = max(sorted(result.metrics), key=lambda name: result.metrics[name].n)
        one, own, other = result.comparisons[part], scores[part], result.metrics[part]
        if not (one.significant and one.worse > one.better and task.ahead(other, own, metric)):
            continue
        better, worse = task.headline(other), task.headline(own)
        compared = task.compared.format(
            figure=task.shown[0].title, samples=_PARTS[part], better=better, worse=worse
        )
        sentence = (
            f"{result.baseline.title} beats this model: {compared} ({task.test}, p {one.p:.2g})"
        )
        labels = _labels(curve, samples, worse, better)
        return Defeat(
            name=result.baseline.name,
            measured_on=part,
            sentence="; ".join([sentence, _source(stronger), *labels]),
        )
    return None


def stronger(source: Source, parameters: int) -> list[str]:
    """Sources for the same samples that the installed families name, other than this one and larger
    than it, in the families' own order: what to start with first."""
    names = []
    for plugin in sorted({owner.name for owner in registry.installed()}):
        try:
            family = registry.load(plugin)
            if family.modality == source.family.modality:
                names += [
                    variant.source
                    for variant in family.variants()
                    if variant.source != source.origin.location
                    and (variant.parameters or math.inf) > parameters
                ]
        except ZooadaptError:  # a broken plugin has no say here
            continue
    return names


def worth_trying(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """At most `_FEW` pretrained models for the samples that these sources read, none of which they
    are: those that the installed families recommend and, where these do not suffice, the smallest
    of the others that are larger than every recommended one. Each with `parameters`, `license` and,
    as `note`, whom it suits."""
    if not sources:
        return []
    modality = sources[0].family.modality
    known = {source.origin.location for source in sources}
    rows = [
        row
        for row in catalogue.models("", limit=_ALL)["models"]
        if row["modality"] == modality and row["source"] not in known and row["parameters"]
    ]
    recommended = [row for row in rows if row["start"]]
    largest = max((row["parameters"] for row in recommended), default=0)
    larger = [row for row in rows if not row["start"] and row["parameters"] > largest]
    return [
        {
            "source": row["source"],
            "parameters": row["parameters"],
            "license": row["license"],
            "note": row["start"],
        }
        for row in [*recommended, *larger][:_FEW]
    ]


def _source(names: Sequence[str]) -> str:
    if not names:
        return "try another source: zooadapt models lists those that are known"
    return f"try a stronger source, such as {names[0]}"


def _labels(curve: Curve | None, samples: int, accuracy: float, target: float) -> list[str]:
    """How many labels bring the model to an accuracy, where its learning curve can tell."""
    if curve is None:
        return []
    if _growth(curve.exponent_interval[1], accuracy, target) >= math.log(_MOST_TIMES):
        return [
            f"more labels will not do: by its learning curve, {_MOST_TIMES} times as many leave "
            "this model behind what that one is today"
        ]
    growth = _growth(curve.exponent, accuracy, target)
    if growth >= math.log(_MOST_TIMES):
        return [
            f"whether more labels would do cannot be told from a learning curve over {samples:,} "
            "samples"
        ]
    more = samples * (math.exp(growth) - 1)
    step = 10 ** max(0, len(f"{more:.0f}") - 2)
    about = max(1, round(more / step) * step)
    return [
        f"or label about {about:,} more samples: with those, by its learning curve, this "
        "model is as good as that one is today"
    ]


def _growth(exponent: float, accuracy: float, target: float) -> float:
    """The logarithm of how many times as many labels a power law needs."""
    if not exponent or target >= 1:
        return math.inf
    return math.log((1 - accuracy) / (1 - target)) / exponent
