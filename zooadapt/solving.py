"""The head solved on parts of the data, and what its predictions for samples it was solved without
tell of them: whose label is doubtful, and what more labels would bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt import curve, head, processes, selftraining, suspects
from zooadapt.data import Split
from zooadapt.data.splits import together
from zooadapt.head import HeadFit
from zooadapt.plan import Plan
from zooadapt.ridge import Rows
from zooadapt.strategy import Choice
from zooadapt.suspects import Suspects

UNLABELLED = "unlabelled"
"""The part of the data that has no labels."""


class Solving:
    """Solves a head on the features of parts of the data, as a plan says."""

    def __init__(
        self,
        plan: Plan,
        layer: nn.Module,
        rows: Callable[[str], Rows],
        splits: Mapping[str, Split],
        class_weights: Tensor,
    ) -> None:
        """layer: the network's own head; rows: the features of a part; class_weights: `(K,)`
        float64, what evens the classes out."""
        self._plan, self._layer, self._rows, self._splits = plan, layer, rows, splits
        self._weights = class_weights
        self.learned = {name: torch.from_numpy(split.labels) for name, split in splits.items()}
        """The labels that are learned, which may differ from those in the data."""
        self.kept = {name: torch.ones(len(t), dtype=torch.bool) for name, t in self.learned.items()}
        """Whether a sample is learned from."""
        self.fit: HeadFit | None = None
        self.parts: tuple[str, ...] = ()
        """What `fit` was solved on."""
        self.suspects: Suspects | None = None
        self.changed = 0
        """Samples that are not learned as they are labelled."""
        self.taught: Choice | None = None
        """Whether the head learned from unlabelled samples too, if there are any."""
        self._teaches = UNLABELLED in splits

    def solve(self, *names: str) -> None:
        """Solve the head on the features of these parts together."""
        plan, imbalance = self._plan, self._plan.recipe.imbalance
        labels = torch.cat([self.learned[name] for name in names])
        weights = torch.cat([self.kept[name] for name in names]).double()
        if imbalance in ("weights", "sampler"):
            weights = weights * self._weights[labels]
        folds: Sequence[np.ndarray] = ()
        if plan.folds:
            folds = head.draw_folds(
                labels.numpy(),
                plan.folds,
                repeats=plan.repeats,
                seed=plan.seed,
                groups=self.groups(*names),
            )
        fit = head.solve(
            self._chunks(names),
            labels,
            plan.num_classes,
            kind=plan.head,
            weights=weights,
            folds=folds,
            seed=plan.seed,
        )
        if self._teaches:
            fit = self._teach(names, labels, weights, folds, fit)
        if imbalance == "logit-adjust":
            fit = head.adjusted(fit, self._weights.log())
        self.fit, self.parts = fit, names
        head.install(self._layer, fit)

    def _teach(
        self,
        names: Sequence[str],
        labels: Tensor,
        weights: Tensor,
        folds: Sequence[np.ndarray],
        fit: HeadFit,
    ) -> HeadFit:
        """The head that learned from unlabelled samples too, if that pays, which is decided once;
        else the one that did not."""
        plan = self._plan
        drawn = folds or head.draw_folds(labels.numpy(), head.FOLDS, repeats=1, seed=plan.seed)
        taught = selftraining.teach(
            self._chunks(names),
            self._rows(UNLABELLED),
            labels,
            plan.num_classes,
            weights=weights,
            fold=drawn[0],
            kind=plan.head,
            seed=plan.seed,
        )
        if self.taught is None:
            self._teaches = taught.pays
            value = "learned from" if taught.pays else "not learned from"
            self.taught = Choice(what="own labels", value=value, why=taught.fact)
        return taught.fit if self._teaches else fit

    def suspect(self, name: str, *others: str) -> None:
        """Look for wrong labels in the part that the head was solved on and in others that it was
        not; where the plan says so, learn from none of them, or from the likelier label, and solve
        again."""
        found = [self.fit.held_out_probabilities(len(self._splits[name])).numpy()]
        for other in others:
            x = torch.cat(list(self._rows(other)()))
            found.append((x @ self.fit.weight.T + self.fit.bias).softmax(1).numpy())
        given = self.given(name, *others)
        self.suspects = suspects.find(np.concatenate(found), given)
        if self._plan.suspects == suspects.KEEP:
            return
        learned, kept, self.changed = processes.decided(
            lambda: suspects.treat(self.suspects, given, self._plan.suspects)
        )
        start = 0
        for part in (name, *others):
            end = start + len(self._splits[part])
            self.learned[part] = torch.tensor(learned[start:end])
            self.kept[part] = torch.tensor(kept[start:end])
            start = end
        self.solve(name)

    def curve(self) -> curve.Curve | None:
        """The learning curve of a plain ridge head's accuracy; None for another head, whose L2,
        score or samples are others."""
        plan, names = self._plan, self.parts
        plain = plan.head == "ridge" and plan.recipe.imbalance == "none" and not self._teaches
        if self.fit is None or not plain:
            return None
        return curve.measure(
            self._chunks(names),
            self.given(*names),
            torch.cat([self.learned[name] for name in names]).numpy(),
            torch.cat([self.kept[name] for name in names]).numpy(),
            self.fit,
            seed=plan.seed,
            groups=self.groups(*names),
        )

    def given(self, *names: str) -> np.ndarray:
        """The labels of these parts together, as they are in the data."""
        return np.concatenate([self._splits[name].labels for name in names])

    def groups(self, *names: str) -> np.ndarray | None:
        """What no fold of these parts may divide: groups, and equal samples."""
        parts = [self._splits[name] for name in names]
        groups = None
        if parts[0].groups is not None:
            groups = np.concatenate([part.groups for part in parts])
        return together(groups, [digest for part in parts for digest in part.digests])

    def _chunks(self, names: Sequence[str]) -> Rows:
        rows = [self._rows(name) for name in names]

        def chunks() -> Iterator[Tensor]:
            for part in rows:
                yield from part()

        return chunks
