"""Models without a network that a practitioner would try in seconds, beside the exported one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from zooadapt.data import Split
from zooadapt.data.splits import parted
from zooadapt.heads import metrics
from zooadapt.heads.metrics import Comparison, Metrics
from zooadapt.runtime import distributed

FOLDS = 5
MOST_SIZE = 8_000_000
"""Of a part: eight million characters take some 15 s and half a GB to count."""
MOST_WORK = 40_000_000
"""Size of what is learned from, times the number of classes: that many take some 12 s to learn."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A model of raw samples. Its module is imported when it is asked for, and has `sizes(samples)`
    and `Predictor(samples).predict(labels, folds)`, as `bag_of_words` does."""

    name: str
    title: str
    module: str
    needs: str
    """What the module imports and that may be missing."""
    package: str
    """The distribution that has it."""

    @property
    def installed(self) -> bool:
        return find_spec(self.needs) is not None


RIVALS: Mapping[str, tuple[Rival, ...]] = {
    "text": (
        Rival(
            name="tfidf",
            title="TF-IDF of words and characters with logistic regression",
            module="zooadapt.heads.bag_of_words",
            needs="sklearn",
            package="scikit-learn",
        ),
    ),
}
"""By modality; a modality that is not here has none."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the data, and what the exported model says of it."""

    split: Split
    learned: np.ndarray
    """`(n,)` the labels to learn, which may differ from those in the data."""
    kept: np.ndarray
    """`(n,)` whether a sample is learned from."""
    predicted: np.ndarray | None
    """`(n,)` the exported model's classes; None where it is measured on other parts."""
    groups: np.ndarray | None = None
    """`(n,)` numbers, equal for samples that no fold may divide."""

    def sample(self, share: float, seed: int) -> Part:
        """A stratified sample of this share of the part."""
        shares = (share, 1 - share)
        rows = np.flatnonzero(parted(self.split.labels, shares, seed, self.groups) == 0)
        return replace(
            self,
            split=self.split.subset(rows),
            learned=self.learned[rows],
            kept=self.kept[rows],
            predicted=None if self.predicted is None else self.predicted[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Match:
    """A rival beside the exported model, on the same samples. Keys are `val`, and `test` where
    there is a test part."""

    rival: Rival
    metrics: Mapping[str, Metrics]
    comparisons: Mapping[str, Comparison]
    """Of the exported model with the rival."""
    how: str
    """How `val` was measured: on a part that is held out, or by cross-validation."""
    sampled: Mapping[str, tuple[int, int]]
    """Parts of which only a sample was used: how many samples, and of how many."""

    def on(self, part: str) -> Match:
        """What was measured on one part alone."""
        parts = {"metrics": self.metrics, "comparisons": self.comparisons, "sampled": self.sampled}
        return replace(
            self,
            **{key: {k: v for k, v in of.items() if k == part} for key, of in parts.items()},
        )


def notes(modality: str, matches: Sequence[Match]) -> list[str]:
    """Which rivals of this modality are not installed, and which used a sample of the data."""
    return [
        f"{rival.title} was not measured beside the model, since {rival.package} is not "
        f"installed: pip install {rival.package}"
        for rival in RIVALS.get(modality, ())
        if not rival.installed
    ] + [
        f"{match.rival.name} used a stratified sample of the {name} part, {count} of {of} samples"
        for match in matches
        for name, (count, of) in match.sampled.items()
    ]


def compete(parts: Mapping[str, Part], *, num_classes: int, seed: int) -> tuple[Match, ...]:
    """Every installed rival for samples of this modality, measured where the exported model was.

    parts: `train`, and `val` and `test` where they are. A rival learns from `train` and predicts
    `val`; without `val` it predicts each of `FOLDS` folds of `train` by what it learned from the
    others. For `test` it learns from all that is not test.
    """
    return tuple(
        _measure(rival, parts, num_classes, seed)
        for rival in RIVALS.get(parts["train"].split.modality, ())
        if rival.installed
    )


def _measure(rival: Rival, whole: Mapping[str, Part], num_classes: int, seed: int) -> Match:
    module = importlib.import_module(rival.module)
    parts = {}
    for name, part in whole.items():
        most = min(MOST_SIZE, MOST_WORK // num_classes) if name == "train" else MOST_SIZE
        size = sum(module.sizes(_raw(part.split)))
        parts[name] = part.sample(most / size, seed) if size > most else part
    judged = {"val": parts.get("val", parts["train"])}
    judged |= {"test": parts["test"]} if "test" in parts else {}
    answers = distributed.broadcast(partial(_answers, module.Predictor, parts, seed))
    predicted = {name: np.array(answer) for name, answer in answers.items()}
    return Match(
        rival=rival,
        metrics={
            name: metrics.measure(predicted[name], part.split.labels, num_classes)
            for name, part in judged.items()
        },
        comparisons={
            name: metrics.compare(
                rival.name,
                part.predicted == part.split.labels,
                predicted[name] == part.split.labels,
            )
            for name, part in judged.items()
        },
        how="held out" if "val" in parts else f"{FOLDS}-fold",
        sampled={
            name: (len(part.split), len(whole[name].split))
            for name, part in parts.items()
            if part is not whole[name]
        },
    )


def _answers(
    predictor: Callable[[Sequence[Any]], Any], parts: Mapping[str, Part], seed: int
) -> dict[str, list[int]]:
    """Predicted classes of the samples of `val` (of `train` where that is not there) and `test`."""
    ends = np.cumsum([len(part.split) for part in parts.values()])
    at = dict(zip(parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    labels = np.concatenate([part.learned for part in parts.values()])
    kept = np.concatenate([part.kept for part in parts.values()])
    if "val" in parts:
        folds = {"val": [(at["train"], at["val"])]}
    else:
        train = parts["train"]
        fold = parted(train.split.labels, [1 / FOLDS] * FOLDS, seed, train.groups)
        folds = {"val": [(at["train"][fold != k], at["train"][fold == k]) for k in range(FOLDS)]}
    if "test" in parts:
        every = np.concatenate([at[name] for name in parts if name != "test"])
        folds["test"] = [(every, at["test"])]
    names = [name for name, pairs in folds.items() for _ in pairs]
    pairs = [(learned[kept[learned]], asked) for name in folds for learned, asked in folds[name]]
    classes = predictor([raw for part in parts.values() for raw in _raw(part.split)]).predict(
        labels, pairs
    )
    answers = {name: np.full(len(labels), -1) for name in folds}
    for name, (_, asked), answer in zip(names, pairs, classes, strict=True):
        answers[name][asked] = answer
    return {name: answer[answer >= 0].tolist() for name, answer in answers.items()}


def _raw(split: Split) -> list[Any]:
    return [split.raw(index) for index in range(len(split))]
