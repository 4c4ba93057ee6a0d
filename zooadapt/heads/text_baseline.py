"""Baselines without a network, which take seconds, on the samples of the exported model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from zooadapt.data import Split, modalities
from zooadapt.data.splits import assign_parts
from zooadapt.runtime import distributed
from zooadapt.tasks import metrics
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.metrics import Comparison
from zooadapt.tasks.task import Task

_Figure = TypeVar("_Figure")
FOLDS = 5
MOST_SIZE = 8_000_000
"""Characters of a part, at most: eight million take some 15 s and half a GB to count."""
MOST_WORK = 40_000_000
"""Characters of the training part times the number of classes: that many take some 12 s to fit."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A model of raw samples. Its module is imported only to be measured, and has `sizes(samples)`
    and `Predictor(samples).predict(task, labels, folds)`, as `bag_of_words` does."""

    name: str
    title: str
    module: str
    needs: str
    """The optional dependency that the module imports."""
    package: str
    """The distribution of that dependency."""

    @property
    def installed(self) -> bool:
        return find_spec(self.needs) is not None


BASELINES = (
    Baseline(
        name="tfidf",
        title="TF-IDF of words and characters with logistic regression",
        module="zooadapt.heads.bag_of_words",
        needs="sklearn",
        package="scikit-learn",
    ),
)


def baselines_of(modality: str) -> tuple[Baseline, ...]:
    """The baselines for samples of this modality: those of texts, or none."""
    return BASELINES if modalities.named(modality).is_language else ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the data, with the exported model's predictions."""

    split: Split
    targets: np.ndarray
    """The labels to train on, which may differ from those in the data."""
    used: np.ndarray
    """`(n,)` whether a sample is trained on."""
    predicted: np.ndarray | None
    """The exported model's answers; None where it is measured on other parts."""
    groups: np.ndarray | None = None
    """`(n,)` numbers, equal for samples that no fold may divide."""
    rows: np.ndarray | None = None
    """`(n,)` positions in the whole part of which this is a sample."""

    def sample(self, share: float, seed: int) -> Part:
        """A stratified sample of this share of the part."""
        shares = (share, 1 - share)
        rows = np.flatnonzero(assign_parts(self.split.strata, shares, seed, self.groups) == 0)
        return replace(
            self,
            split=self.split.subset(rows),
            targets=self.targets[rows],
            used=self.used[rows],
            predicted=None if self.predicted is None else self.predicted[rows],
            groups=None if self.groups is None else self.groups[rows],
            rows=rows,
        )


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """A baseline and the exported model, measured on the same samples. Keys are `val`, and `test`
    where there is a test part."""

    baseline: Baseline
    metrics: Mapping[str, Figures]
    comparisons: Mapping[str, Comparison]
    """Of the exported model with the baseline."""
    how: str
    """How `val` was measured: on a held-out part, or by cross-validation."""
    sampled: Mapping[str, tuple[int, int]]
    """Parts of which a sample was used: its size, and that of the part."""
    right: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """`(m,)` positions of the measured samples in their part, and `(m,)` whether the baseline is
    right about each."""

    def on(self, part: str) -> BaselineResult:
        """The figures of one part alone."""
        return replace(
            self,
            metrics=_only(part, self.metrics),
            comparisons=_only(part, self.comparisons),
            sampled=_only(part, self.sampled),
            right=_only(part, self.right),
        )


def notes(modality: str, results: Sequence[BaselineResult]) -> list[str]:
    """Which baselines of this modality are not installed, and which used a sample of the data."""
    return [
        f"{baseline.title} was not measured beside the model, since {baseline.package} is not "
        f"installed: pip install {baseline.package}"
        for baseline in baselines_of(modality)
        if not baseline.installed
    ] + [
        f"{result.baseline.name} used a stratified sample of the {name} part, {count} of {of} "
        "samples"
        for result in results
        for name, (count, of) in result.sampled.items()
    ]


def measure_baselines(
    parts: Mapping[str, Part], *, task: Task, seed: int
) -> tuple[BaselineResult, ...]:
    """Every installed baseline of this modality, measured on the exported model's samples.

    parts: `train`, and `val` and `test` where there are such. A baseline is fitted on `train` and
    predicts `val`; without `val` it is cross-validated on `FOLDS` folds of `train`. For `test` it
    is fitted on all other parts.
    """
    return tuple(
        _measure(baseline, parts, task, seed)
        for baseline in baselines_of(parts["train"].split.modality)
        if baseline.installed
    )


def _measure(
    baseline: Baseline, whole: Mapping[str, Part], task: Task, seed: int
) -> BaselineResult:
    module = importlib.import_module(baseline.module)
    parts = {}
    for name, part in whole.items():
        most = min(MOST_SIZE, MOST_WORK // len(task.outputs)) if name == "train" else MOST_SIZE
        size = sum(module.sizes(_raw(part.split)))
        parts[name] = part.sample(most / size, seed) if size > most else part
    measured = {"val": parts.get("val", parts["train"])}
    measured |= {"test": parts["test"]} if "test" in parts else {}
    answers = distributed.broadcast(partial(_predict, module.Predictor, parts, task, seed))
    predicted = {name: np.array(each) for name, each in answers.items()}
    wrong = {
        name: task.errors(predicted[name], part.split.labels) for name, part in measured.items()
    }
    return BaselineResult(
        baseline=baseline,
        metrics={
            name: task.measure(predicted[name], part.split.labels)
            for name, part in measured.items()
        },
        comparisons={
            name: metrics.compare(
                baseline.name, task.errors(part.predicted, part.split.labels), wrong[name]
            )
            for name, part in measured.items()
            if part.predicted is not None
        },
        how="held out" if "val" in parts else f"{FOLDS}-fold",
        sampled={
            name: (len(part.split), len(whole[name].split))
            for name, part in parts.items()
            if part is not whole[name]
        },
        right={
            name: (
                np.arange(len(part.split)) if part.rows is None else part.rows,
                wrong[name] == 0,
            )
            for name, part in measured.items()
        },
    )


def _only(part: str, figures: Mapping[str, _Figure]) -> dict[str, _Figure]:
    return {name: figure for name, figure in figures.items() if name == part}


def _predict(
    predictor: Callable[[Sequence[Any]], Any], parts: Mapping[str, Part], task: Task, seed: int
) -> dict[str, list[Any]]:
    """Answers for the samples of `val` (else of `train`) and `test`."""
    ends = np.cumsum([len(part.split) for part in parts.values()])
    rows = dict(zip(parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    labels = np.concatenate([part.targets for part in parts.values()])
    used = np.concatenate([part.used for part in parts.values()])
    if "val" in parts:
        folds = {"val": [(rows["train"], rows["val"])]}
    else:
        train = parts["train"]
        fold = assign_parts(train.split.strata, [1 / FOLDS] * FOLDS, seed, train.groups)
        train_rows = rows["train"]
        folds = {"val": [(train_rows[fold != k], train_rows[fold == k]) for k in range(FOLDS)]}
    if "test" in parts:
        others = np.concatenate([rows[name] for name in parts if name != "test"])
        folds["test"] = [(others, rows["test"])]
    names = [name for name, pairs in folds.items() for _ in pairs]
    pairs = [(fitted[used[fitted]], held_out) for name in folds for fitted, held_out in folds[name]]
    model = predictor([raw for part in parts.values() for raw in _raw(part.split)])
    answers: dict[str, list[np.ndarray]] = {name: [] for name in folds}
    for name, each in zip(names, model.predict(task, labels, pairs), strict=True):
        answers[name].append(each)
    order = {name: np.argsort(np.concatenate([held for _, held in folds[name]])) for name in folds}
    return {name: np.concatenate(each)[order[name]].tolist() for name, each in answers.items()}


def _raw(split: Split) -> list[Any]:
    return [split.raw(index) for index in range(len(split))]
