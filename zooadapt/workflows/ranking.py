"""Pretrained models compared on the same samples: the best one, those that are not significantly
different from it, and whether any is better than the baselines of seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zooadapt.data import Split
from zooadapt.heads import text_baseline
from zooadapt.tasks import metrics
from zooadapt.tasks.metrics import Comparison
from zooadapt.tasks.task import Task
from zooadapt.workflows.source_measurement import Measurement


@dataclass(frozen=True, kw_only=True)
class BaselineScore:
    """A baseline on a sample of the data."""

    name: str
    title: str
    how: str
    """How it was measured."""
    rows: np.ndarray
    """`(m,)` positions of the samples that it was measured on."""
    right: np.ndarray
    """`(m,)` whether it predicts each one's class."""

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@dataclass(frozen=True, kw_only=True)
class Round:
    """Every source that was measured on one sample of the data."""

    n: int
    """Samples."""
    measurements: Mapping[str, Measurement]
    """By source; at least one."""
    baselines: Sequence[BaselineScore]
    groups: np.ndarray | None = None
    """`(n,)`, equal for samples of a group."""
    level: float = metrics.LEVEL
    """Below which the p of a test is significant. `level_of` shares 5 % among all tests of a
    ranking."""

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The sources from the highest accuracy down; of equal ones, the lower loss first."""
        heads = {name: one.head for name, one in self.measurements.items()}
        return tuple(sorted(heads, key=lambda name: (-heads[name].accuracy, heads[name].loss)))

    @cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Of the first source with each other one."""
        first, *others = self.order
        right = self.measurements[first].head.right
        return {
            name: compare(name, right, self.measurements[name].head.right, self.groups)
            for name in others
        }

    @property
    def tied(self) -> tuple[str, ...]:
        """The first source and those that are not significantly different from it, in order."""
        different = {name for name, one in self.comparisons.items() if one.p < self.level}
        return tuple(name for name in self.order if name not in different)

    @property
    def decided(self) -> bool:
        """Whether the first source is significantly different from all others and all baselines."""
        against = self._against_baselines(self.order[0])
        return len(self.tied) == 1 and all(one.p < self.level for one in against)

    @property
    def close(self) -> tuple[str, ...]:
        """Of the tied sources those that are behind the first one by no more than a standard error
        of the paired difference (the one standard error rule of Breiman et al. 1984)."""
        first, *others = self.tied
        return (first, *(name for name in others if _is_close(self.comparisons[name])))

    @property
    def choice(self) -> str:
        """The one of the `close` sources that takes the fewest seconds for a sample."""
        return min(self.close, key=lambda name: self.measurements[name].cost.seconds)

    def better_than(self, source: str) -> tuple[str, ...]:
        """The baselines that a source is significantly better than."""
        return tuple(one.name for one in self._against_baselines(source) if self._is_better(one))

    def gain(self, source: str) -> Comparison | None:
        """The source compared with its network untrained, where that was measured."""
        measurement = self.measurements[source]
        if measurement.untrained is None:
            return None
        right, untrained = measurement.head.right, measurement.untrained.right
        return compare("untrained", right, untrained, self.groups)

    def gains(self, source: str) -> bool:
        """Whether a source is significantly better than its network untrained, or that was not
        measured."""
        gain = self.gain(source)
        return gain is None or self._is_better(gain)

    def helps(self, source: str) -> bool:
        """Whether a source is significantly better than every baseline."""
        return len(self.better_than(source)) == len(self.baselines)

    def _is_better(self, one: Comparison) -> bool:
        return one.p < self.level and one.better > one.worse

    def _against_baselines(self, source: str) -> list[Comparison]:
        right = self.measurements[source].head.right
        return [
            compare(
                one.name,
                right[one.rows],
                one.right,
                None if self.groups is None else self.groups[one.rows],
            )
            for one in self.baselines
        ]


def level_of(sources: int, samples: int) -> float:
    """The level of each test of a ranking of so many sources on so many samples, each larger than
    the one before. Whichever source is truly the best on one of them, the chance that any other is
    found significantly better there or before is at most `LEVEL` (Bonferroni)."""
    return metrics.LEVEL / (sources * samples)


def compare(
    name: str, right: np.ndarray, other: np.ndarray, groups: np.ndarray | None
) -> Comparison:
    """McNemar's exact test of two models by `(n,)` bools, whether each has a sample right. With
    groups, whose samples are no independent evidence, a group counts once: for the model that has
    more of its samples right."""
    if groups is None:
        return metrics.compare(name, ~right, ~other)
    _, numbers = np.unique(groups, return_inverse=True)
    gain = np.bincount(numbers, right.astype(float) - other)
    return metrics.compare(name, -gain, np.zeros(len(gain)))


def _is_close(one: Comparison) -> bool:
    """Whether the first model is ahead by no more than a standard error of the difference."""
    ahead, differ = one.better - one.worse, one.better + one.worse
    return ahead <= math.sqrt(differ - ahead**2 / one.n)


def measure_baselines(
    sample: Split, task: Task, *, seed: int
) -> tuple[tuple[BaselineScore, ...], list[str]]:
    """The baselines on a sample: the most frequent class, and those of the modality. Notes name
    those that are not installed, or used a part of the sample."""
    labels = sample.labels
    majority = BaselineScore(
        name="majority",
        title="the most frequent class",
        how="its share",
        rows=np.arange(len(labels)),
        right=task.errors(task.constant(labels, len(labels)), labels) == 0,
    )
    part = text_baseline.Part(
        split=sample,
        targets=labels,
        used=np.ones(len(labels), dtype=bool),
        predicted=None,
        groups=sample.groups,
    )
    results = text_baseline.measure_baselines({"train": part}, task=task, seed=seed)
    scores = []
    for result in results:
        rows, right = result.right["val"]
        baseline = result.baseline
        scores.append(
            BaselineScore(
                name=baseline.name, title=baseline.title, how=result.how, rows=rows, right=right
            )
        )
    return (majority, *scores), text_baseline.notes(sample.modality, results)
