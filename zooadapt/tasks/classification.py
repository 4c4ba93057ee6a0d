"""One class of several for each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks import class_card, class_lists, label_issues
from zooadapt.tasks.cells import Cell, by_value, check_number
from zooadapt.tasks.figures import Shown, Table
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.metrics import Metrics, measure, of_probabilities
from zooadapt.tasks.predictions import Prediction
from zooadapt.tasks.spelling import loosely, normalised, others, twins
from zooadapt.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.codes import Codes
    from zooadapt.tasks.validation import Validation


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Labels are `(n,)` class indices, outputs are probabilities, answers are class indices."""

    name = "classification"
    noun = ("class", "classes")
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown(title="accuracy", key="accuracy", interval="interval"),
        Shown(title="macro F1", key="macro_f1", interval="macro_f1_interval"),
    )
    counts_classes = has_classes = smooths = True
    imbalances: ClassVar[tuple[str, ...]] = ("none", "weights", "sampler", "logit-adjust")
    heads: ClassVar[tuple[str, ...]] = ("ridge", "logistic")
    test = "McNemar's exact test"
    nearer = "right about"
    compared = "it is right about {better:.3f} of the {samples}, the model about {worse:.3f}"

    @classmethod
    def of(cls, count: int) -> Self:
        """Classes without names."""
        return cls(outputs=tuple(map(str, range(count))))

    @classmethod
    def read(
        cls, cells: Sequence[Cell], *, columns: Sequence[str], row: Callable[[int], str]
    ) -> tuple[Self, np.ndarray]:
        """Classes are sorted by name, names are normalised to NFC. If all labels of a column are
        numbers, or all are truth values, equal values are one class.

        Raises: DataError for several labels of one row, or names that differ in their form alone.
        """
        names = [cell if isinstance(cell, str) else "" for cell in cells]
        several = next((k for k, cell in enumerate(cells) if not isinstance(cell, str)), None)
        if several is not None:
            raise DataError(
                f"'{row(several)}' has a list of labels, and a class is one name",
                thing=row(several),
                remedy="--task multilabel",
            )
        if columns:
            names = [name or "" for name in by_value(names)]
        forms = normalised(names, cls.noun)
        classes = tuple(sorted(forms.values()))
        check_number(classes, cls.noun)
        rows = {name: row for row, name in enumerate(classes)}
        return cls(outputs=classes), np.array([rows[forms[name]] for name in names], dtype=np.int64)

    def check(self, train: np.ndarray, *, allow_tiny: bool) -> None:
        """See that there are two classes or more, each with two training samples or more."""
        classes = self.outputs
        if len(classes) < 2:
            raise DataError(
                f"there is one class only, '{classes[0]}'",
                thing=classes[0],
                remedy="add a second class, a classifier needs two or more",
            )
        counts = np.bincount(train, minlength=len(classes))
        unseen = [classes[k] for k in np.flatnonzero(counts == 0)]
        if unseen:
            trained_names = [classes[k] for k in np.flatnonzero(counts)]
            alike = [name for name in trained_names if loosely(name) == loosely(unseen[0])]
            raise DataError(
                f"class '{unseen[0]}'{others(unseen)} is in the test part only"
                + (f"; the training part has '{alike[0]}'" if alike else ""),
                thing=unseen[0],
                remedy="spell it alike in all parts"
                if alike
                else "add training samples of it or remove it",
            )
        single = [classes[k] for k in np.flatnonzero(counts == 1)]
        if single and not allow_tiny:
            raise DataError(
                f"class '{single[0]}'{others(single)} has a single training sample",
                thing=single[0],
                remedy="add samples, or --allow-tiny",
            )

    def covers(self, train: np.ndarray, other: np.ndarray) -> bool:
        return not len(np.setdiff1d(other, train))

    def remarks(self, labels: np.ndarray, test: np.ndarray) -> list[str]:
        classes, notes = self.outputs, []
        untested = [classes[k] for k in np.setdiff1d(np.arange(len(classes)), test)]
        if untested and len(test):
            count = counted(len(untested), "class has", "classes have")
            notes.append(f"{count} no test sample: {listed([repr(name) for name in untested])}")
        counts = np.bincount(labels, minlength=len(classes)).tolist()
        return notes + twins(classes, counts, self.noun)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        return labels

    def spell(self, label: Any) -> str:
        return self.outputs[int(label)]

    def aligned(self, labels: np.ndarray, of: Task, *, where: str) -> np.ndarray:
        self.require(of, where=where, used=np.unique(labels))
        rows = self.rows_of(of.outputs)
        return np.take([rows.get(name, -1) for name in of.outputs], labels)

    def rows_of(self, names: Sequence[str]) -> dict[str, int]:
        """Names that are numbers are the same by value: so are classes of tables told apart, and
        those of older models were by their spelling."""
        rows = {name: row for row, name in enumerate(by_value(self.outputs)) if name is not None}
        return rows | {name: row for row, name in enumerate(self.outputs)}

    def codes(self, labels: Tensor) -> Codes:
        from zooadapt.tasks.codes import OneHot

        return OneHot(labels, len(self.outputs))

    def calibrate(
        self, logits: Tensor, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        scale, losses = self.rescale(logits, labels, weights)
        return torch.tensor(scale, dtype=torch.float64), torch.zeros(()).double(), losses

    def rescale(self, logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        from zooadapt.tasks.calibration import best_scale

        return best_scale(logits, labels, weights)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch import nn

        return nn.functional.cross_entropy(logits, labels, reduction="none")

    def ignorance(self, labels: Tensor) -> float:
        import torch

        shares = torch.bincount(labels, minlength=len(self.outputs)).double() / len(labels)
        return float(torch.special.entr(shares).sum())

    def counts(self, train: np.ndarray) -> np.ndarray:
        return np.bincount(train, minlength=len(self.outputs))

    def evening(self, train: Tensor) -> Tensor:
        import torch

        counts = torch.bincount(train, minlength=len(self.outputs)).double()
        return counts.sum() / (counts.clamp_min(1) * len(self.outputs))

    def sample_weights(self, labels: Tensor, evening: Tensor) -> Tensor:
        return evening[labels]

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        evening: Tensor,
        imbalance: str,
        label_smoothing: float,
    ) -> Tensor:
        """Cross-entropy."""
        from torch import nn

        if imbalance == "logit-adjust":
            logits = logits - evening.log().to(logits)
        return nn.functional.cross_entropy(
            logits,
            labels.to(logits.device),
            weight=evening.to(logits) if imbalance == "weights" else None,
            label_smoothing=label_smoothing,
        )

    def validate(self, logits: Tensor, labels: Tensor, evening: Tensor, metric: str) -> Validation:
        """For balanced accuracy every class has the same weight in total."""
        import torch

        from zooadapt.tasks.calibration import LEAST_SCALE
        from zooadapt.tasks.validation import Validation

        weights = torch.ones(len(logits), dtype=torch.float64)
        if metric != "accuracy":
            weights = evening[labels]
        scale, losses = self.rescale(logits.double(), labels, weights)
        right = (logits.argmax(1) == labels).double()
        return Validation(
            loss=float(losses.mean()),
            accuracy=float(right.mean()),
            score=float((right * weights).sum() / weights.sum()),
            scale=max(scale, LEAST_SCALE),
            losses=losses,
        )

    def outputs_of(self, logits: Tensor | np.ndarray) -> np.ndarray:
        if isinstance(logits, np.ndarray):
            exponents = np.exp(logits - logits.max(1, keepdims=True))
            return np.asarray(exponents / exponents.sum(1, keepdims=True))
        return logits.softmax(1).numpy()

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.argmax(1))

    def errors(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.asarray(answers != labels, dtype=float)

    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> Metrics:
        if outputs is not None:
            return of_probabilities(outputs, labels, distinct=distinct)
        return measure(answers, labels, len(self.outputs), distinct=distinct)

    def constant(self, train: np.ndarray, n: int) -> np.ndarray:
        """The most frequent class."""
        return np.full(n, np.bincount(train).argmax())

    def vote(self, weights: Tensor, labels: Tensor) -> Tensor:
        import torch

        votes = torch.zeros(len(weights), len(self.outputs))
        return votes.scatter_add_(1, labels, weights).argmax(1)

    def say(
        self,
        outputs: np.ndarray,
        inputs: Sequence[str],
        texts: Sequence[str | None],
        *,
        top: int | None,
        reject_below: float,
    ) -> list[Prediction]:
        """Raises: UsageError when samples can be rejected and there is a class of that name."""
        return class_lists.predictions(
            self.outputs, outputs, inputs, texts, top=top, reject_below=reject_below
        )

    def listing(
        self, said: Sequence[Any], *, top: int | None, truth: np.ndarray | None
    ) -> tuple[list[str], Iterator[list[Any]]]:
        """With a column for the probability of each class, in the order of the classes; with `top`,
        the next labels and their probabilities instead."""
        return class_lists.of_predictions(self.outputs, said, top=top, truth=truth)

    def tables(self, figures: Metrics) -> list[Table]:
        """The confusion matrix of few classes."""
        return class_lists.confusion(self.outputs, figures)

    def ahead(self, one: Metrics, other: Metrics, metric: str) -> bool:
        return metric != "balanced-accuracy" or one.balanced_accuracy > other.balanced_accuracy

    @property
    def title(self) -> str:
        return f"classification into {len(self.outputs)} classes"

    def hub_metrics(self, figures: Metrics) -> list[dict[str, Any]]:
        return [
            {"type": "accuracy", "value": round(figures.accuracy, 6)},
            {"type": "f1", "name": "macro F1", "value": round(figures.macro_f1, 6)},
        ]

    def card_summary(self, measured: Sequence[tuple[str, Metrics]]) -> list[str]:
        return class_card.summary(measured)

    def card_sections(self, figures: Metrics) -> list[str]:
        return class_card.sections(self.outputs, figures)

    def limits(self, figures: Metrics) -> list[str]:
        return class_card.limits(figures)

    def doubts(self, outputs: np.ndarray, labels: np.ndarray) -> LabelIssues:
        return label_issues.find(outputs, labels, self.outputs)

    def linear(self, features: Any, labels: np.ndarray, held_out: Any) -> np.ndarray:
        """One logistic regression for each class."""
        from zooadapt.tasks.linear import classifier

        return np.asarray(classifier().fit(features, labels).predict(held_out))
