"""The head fitted on parts of the data, and what its held-out predictions tell: which labels are
probably wrong, and what more labels would bring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows
from zooadapt.backbone.staged import POOLED
from zooadapt.data import Split
from zooadapt.data.splits import TEST, TRAIN, VAL, merge_groups
from zooadapt.heads import answers, fitting, learning_curve, near_duplicates, selection
from zooadapt.heads.answers import Answers
from zooadapt.heads.fitting import HeadFit
from zooadapt.heads.text_baseline import Part
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.tasks import label_issues
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.task import Task
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import IN_DOUBT


def read_at(plan: Plan) -> dict[str, set[int]]:
    """The freeze points at which a run of this plan reads the activations of each part."""
    freeze_points = {phase.freeze_at for phase in plan.trained}
    ends = {plan.depth} if plan.fits_head else set()
    looked = {POOLED} if any(phase.when == IN_DOUBT for phase in plan.trained) else set()
    return {
        TRAIN: freeze_points | ends | looked,
        VAL: freeze_points | ends,
        TEST: {plan.freeze_at},
    }


class HeadFitter:
    """Solves a head on the features of parts of the data, as a plan says."""

    def __init__(
        self,
        plan: Plan,
        task: Task,
        layer: nn.Module,
        rows: Callable[[str], Rows],
        splits: Mapping[str, Split],
    ) -> None:
        """layer: the network's own head; rows: the features of a part."""
        self._plan, self._layer, self._rows, self._splits = plan, layer, rows, splits
        self.task = task
        """With the representation of the labels that fits best, and what held-out predictions told
        of it."""
        self.learned = {name: torch.from_numpy(split.labels) for name, split in splits.items()}
        """The labels that are learned, which may differ from those in the data."""
        self.used = {name: torch.ones(len(t), dtype=torch.bool) for name, t in self.learned.items()}
        """Whether a sample is learned from."""
        self.fit: HeadFit | None = None
        self.parts: tuple[str, ...] = ()
        """What `fit` was fitted on."""
        self.label_issues: LabelIssues | None = None
        self.changed = 0
        """Samples that are not learned as they are labelled."""
        self.evening = task.evening(self.learned[TRAIN])
        """`(K,)` float64, what evens the outputs out."""
        self.labelled = tuple(name for name in (TRAIN, VAL) if name in splits)
        """Parts whose labels are there to be learned."""
        self.alike: Mapping[bytes, bytes] = {}
        """Contents that are nearly equal to another one, each with that one."""

    def fit_head(self, *names: str) -> HeadFit:
        """Fit the head on the features of these parts together, and put it into the network."""
        plan, imbalance = self._plan, self._plan.recipe.imbalance
        task = self.task
        labels = torch.cat([self.learned[name] for name in names])
        weights = torch.cat([self.used[name] for name in names]).double()
        if imbalance in ("weights", "sampler"):
            weights = weights * task.sample_weights(labels, self.evening)
        folds: Sequence[np.ndarray] = ()
        if plan.folds:
            folds = fitting.draw_folds(
                task.strata(labels.numpy()),
                plan.folds,
                repeats=plan.repeats,
                seed=plan.seed,
                groups=self.groups(*names),
            )
        fit = fitting.fit_head(
            self._chunks(names),
            labels,
            task,
            kind=plan.head,
            weights=weights,
            folds=folds,
            groups=self.groups(*names),
            seed=plan.seed,
        )
        if imbalance == "logit-adjust":
            fit = fitting.adjusted(fit, self.evening.log())
        self.fit, self.parts = fit, names
        fitting.install(self._layer, fit)
        return fit

    def represent(self, *names: str, fits: bool) -> Choice | None:
        """Choose how the task represents the labels of these parts, by held-out predictions of a
        head, or where none is to be fitted, by the labels alone; the choice, if there was one."""
        labels = torch.cat([self.learned[name] for name in names])
        variants = self.task.variants(labels.numpy())
        if len(variants) == 1:
            return None
        surprises = []
        for variant in variants:
            self.task = variant
            logits = torch.zeros(len(labels), len(variant.outputs))
            if fits:
                logits = self.fit_head(*names).held_out_logits
            truth = fitting.repeated(labels, len(logits) // len(labels))
            surprises.append(variant.surprise(logits, truth))
        chosen = distributed.broadcast(lambda: selection.simplest(surprises)[0])
        self.task = variants[chosen]
        figures = ", ".join(
            f"{float(each.mean()):.3f} with {one.representation}"
            for one, each in zip(variants, surprises, strict=True)
        )
        why = f"mean {'held-out ' if fits else ''}negative log density {figures}"
        return Choice(what="scale", value=self.task.representation, why=why)

    def find_label_issues(self, fit: HeadFit, name: str, *others: str) -> HeadFit:
        """Find labels that are probably wrong in the part that `fit` was fitted on, and in others;
        where the plan says so, drop or relabel them and fit the head again. The head then."""
        task, outputs = self.task, [fit.held_out_outputs(len(self._splits[name]), self.task)]
        for other in others:
            x = torch.cat(list(self._rows(other)()))
            outputs.append(task.outputs_of(x @ fit.weight.T + fit.bias))
        labels, action = self.labels(name, *others), self._plan.suspects
        self.label_issues = issues = task.doubts(np.concatenate(outputs), labels)
        if action == label_issues.KEEP or issues is None:
            return fit
        learned, used, self.changed = distributed.broadcast(lambda: issues.apply(labels, action))
        start = 0
        for part in (name, *others):
            end = start + len(self._splits[part])
            self.learned[part] = torch.tensor(learned[start:end])
            self.used[part] = torch.tensor(used[start:end])
            start = end
        return self.fit_head(name)

    def curve(self) -> learning_curve.Curve | None:
        """The learning curve of a plain ridge head's accuracy; None for another head, whose L2,
        score or samples are others."""
        plan, names = self._plan, self.parts
        plain = plan.head == "ridge" and plan.recipe.imbalance == "none"
        if self.fit is None or not plain or not self.task.counts_classes:
            return None
        return learning_curve.measure(
            self._chunks(names),
            self.labels(*names),
            torch.cat([self.learned[name] for name in names]).numpy(),
            torch.cat([self.used[name] for name in names]).numpy(),
            self.fit,
            seed=plan.seed,
            groups=self.groups(*names),
        )

    def labels(self, *names: str) -> np.ndarray:
        """The labels of these parts together, as they are in the data."""
        return np.concatenate([self._splits[name].labels for name in names])

    def measure(self, logits: Tensor, *names: str) -> Figures:
        """Metrics of `(n, K)` logits, or of several times as many, on these parts together, without
        what the source has learned before, unless that is all."""
        outputs, labels, distinct = self._outputs(logits, *names)
        answers = self.task.answers(outputs)
        return self.task.measure(answers, labels, outputs=outputs, distinct=distinct)

    def answers_of(self, logits: Tensor, *names: str) -> Answers | None:
        """The answers by `(n, K)` logits, or by the mean over several times as many, on the samples
        of these parts that `measure` counts; None for another task than classes."""
        if not self.task.counts_classes:
            return None
        labels = self.labels(*names)
        drawn = logits.softmax(1).view(-1, len(labels), logits.shape[1])
        probabilities = drawn[0] if len(drawn) == 1 else drawn.mean(0)
        rows, _ = self._measured(*names)
        return answers.of_probabilities(probabilities.numpy(), labels, rows, names)

    def settle(self, logits: Tensor, *names: str) -> None:
        """Let the task learn what it can of held-out predictions, logits as `measure` takes them,
        before anything is measured with it."""
        outputs, labels, _ = self._outputs(logits, *names)
        times = len(outputs) // len(labels)
        self.task = self.task.settled(outputs, np.concatenate([labels] * times))

    def answers(self, logits: Tensor) -> np.ndarray:
        """What a model of these `(n, K)` logits says."""
        return self.task.answers(self.task.outputs_of(logits))

    def error(self, answers: np.ndarray, name: str) -> float:
        """The mean error of answers on the samples of a part that are learned from."""
        errors = self.task.errors(answers, self.learned[name].numpy())
        return float(errors[self.used[name].numpy()].mean())

    def error_of(self, logits: Tensor, name: str) -> float:
        """The same of logits; infinite where some are not finite."""
        return self.error(self.answers(logits), name) if logits.isfinite().all() else math.inf

    def measure_answers(self, answers: np.ndarray, name: str) -> Figures:
        """Metrics of the answers of a model on a part, as `measure` takes them."""
        rows, distinct = self._measured(name)
        return self.task.measure(answers[rows], self.labels(name)[rows], distinct=distinct)

    def _outputs(self, logits: Tensor, *names: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Outputs and labels of the samples of these parts that count for a figure, and how many of
        them are distinct."""
        rows, distinct = self._measured(*names)
        whole = self.task.outputs_of(logits).reshape(-1, len(rows), logits.shape[1])
        outputs = whole[:, rows].reshape(-1, logits.shape[1])
        return outputs, self.labels(*names)[rows], distinct

    def _measured(self, *names: str) -> tuple[np.ndarray, int]:
        """`(n,)`, whether each sample of these parts counts for a figure, and how many of those
        that do are distinct."""
        rows = ~np.concatenate([self._splits[name].learned for name in names])
        rows |= not rows.any()
        contents = [one for name in names for one in self.contents(name)]
        return rows, len({one for one, row in zip(contents, rows, strict=True) if row})

    def find_repeats(self) -> None:
        """See which samples are nearly equal by their features."""
        digests = [digest for name in self.labelled for digest in self._splits[name].digests]
        modality = self._splits[TRAIN].modality
        self.alike = near_duplicates.near_equal(digests, self._chunks(self.labelled), modality)

    @property
    def notes(self) -> list[str]:
        """How many samples repeat another one, if any do."""
        count = sum(len(self.learned[name]) for name in self.labelled)
        repeated = count - self.count_distinct(*self.labelled)
        if not repeated:
            return []
        equal = "equal or nearly equal to" if self.alike else "equal to"
        return [
            f"{repeated} of {count} training samples are {equal} another one: such samples are "
            "left out together when a model is validated"
        ]

    def count_distinct(self, *names: str) -> int:
        """How many samples of these parts are neither equal nor nearly equal to another one."""
        return len({one for name in names for one in self.contents(name)})

    def groups(self, *names: str) -> np.ndarray | None:
        """`(n,)`, equal for samples of these parts that no comparison may divide: groups, and
        samples that are equal or nearly so. None where every sample stands for itself."""
        parts = [self._splits[name] for name in names]
        groups = None
        if parts[0].groups is not None:
            groups = np.concatenate([part.groups for part in parts])
        return merge_groups(groups, [one for name in names for one in self.contents(name)])

    def contents(self, name: str) -> list[bytes]:
        """What is equal for samples of a part that are equal or nearly so."""
        return [self.alike.get(digest, digest) for digest in self._splits[name].digests]

    def distinct(self, name: str) -> np.ndarray:
        """Positions of a part's samples without those that repeat one of the same label."""
        keys = zip(self.contents(name), map(str, self.learned[name].tolist()), strict=True)
        first: dict[tuple[bytes, str], int] = {}
        return np.array([k for k, key in enumerate(keys) if first.setdefault(key, k) == k])

    def parts_beside(self, predicted: Mapping[str, np.ndarray]) -> dict[str, Part]:
        """Every labelled part as it was learned. predicted: the exported model's answers, by part,
        for samples that it did not learn from."""
        return {
            name: Part(
                split=self._splits[name],
                targets=self.learned[name].numpy(),
                used=self.used[name].numpy(),
                predicted=predicted.get(name),
                groups=self.groups(name) if name == TRAIN else None,
            )
            for name in (TRAIN, VAL, TEST)
            if name in self._splits
        }

    def _chunks(self, names: Sequence[str]) -> Rows:
        rows = [self._rows(name) for name in names]

        def chunks() -> Iterator[Tensor]:
            for part in rows:
                yield from part()

        return chunks
