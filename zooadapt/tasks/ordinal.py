"""One grade of several for each sample: classes in an order, near ones nearly right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zooadapt.errors import DataError
from zooadapt.tasks.cells import Cell
from zooadapt.tasks.classification import Classification
from zooadapt.tasks.figures import Shown
from zooadapt.tasks.grade_metrics import GradeMetrics, measure
from zooadapt.tasks.predictions import Prediction
from zooadapt.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.codes import Codes
    from zooadapt.tasks.validation import Validation

_NUMBER = re.compile(r"\s*[+-]?\d+(?:[.,]\d+)?")


@dataclass(frozen=True, kw_only=True)
class Ordinal(Classification):
    """Labels are `(n,)` grade indices from the lowest, outputs are probabilities, the answer is the
    median grade. Networks and exports are those of classification.
    """

    name = "ordinal"
    noun = ("grade", "grades")
    shown = (
        Shown(title="quadratic kappa", key="kappa", interval="kappa_interval"),
        Shown(title="MAE in grades", key="mae", interval="mae_interval"),
        Shown(title="accuracy", key="accuracy", interval="interval"),
    )
    imbalances = ("none", "weights", "sampler")
    heads = ("ridge",)
    compared = Task.compared
    nearer = Task.nearer
    ignorant = "the median grade"
    test = "a sign test"

    @classmethod
    def read(
        cls, cells: Sequence[Cell], *, columns: Sequence[str], row: Callable[[int], str]
    ) -> tuple[Self, np.ndarray]:
        """Grades are in the order of the numbers that they begin with.

        Raises: DataError for a grade that begins with no number; as `Classification.read`.
        """
        task, labels = super().read(cells, columns=columns, row=row)
        numbers = [_number(name) for name in task.outputs]
        unordered = [n for n, number in zip(task.outputs, numbers, strict=True) if number is None]
        if unordered:
            raise DataError(
                f"grade '{unordered[0]}' begins with no number, so the grades have no order",
                thing=unordered[0],
                remedy="write grades as numbers, or as '1 low', '2 middle', '3 high'",
            )
        order = sorted(range(len(numbers)), key=lambda k: numbers[k] or 0.0)
        return replace(task, outputs=tuple(task.outputs[k] for k in order)), np.argsort(order)[
            labels
        ]

    def codes(self, labels: Tensor) -> Codes:
        """Ridge regression learns of a grade that near ones are like it."""
        import torch

        from zooadapt.tasks.codes import Dense

        return Dense(2 * torch.exp(-self._distances(labels)) - 1)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        evening: Tensor,
        imbalance: str,
        label_smoothing: float,
    ) -> Tensor:
        """Cross-entropy against probabilities that fall with the distance from the grade (Diaz &
        Marathe, CVPR 2019)."""
        import torch

        soft = torch.softmax(-2 * self._distances(labels), 1).to(logits)
        each = -(soft * torch.log_softmax(logits, 1)).sum(1)
        weights = torch.ones_like(each)
        if imbalance == "weights":
            weights = evening.to(logits)[labels.to(logits.device)]
        return (each * weights).sum() / weights.sum()

    def validate(self, logits: Tensor, labels: Tensor, evening: Tensor, metric: str) -> Validation:
        """The score is 1 less the mean distance of the median grade, of the largest there is."""
        outputs = self.outputs_of(logits.float())
        distance = float(self.errors(self.answers(outputs), labels.numpy()).mean())
        score = 1 - distance / max(1, len(self.outputs) - 1)
        validation = super().validate(logits, labels, evening, metric)
        return replace(validation, accuracy=score, score=score)

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """The median grade, which has the least expected distance."""
        return np.asarray((np.cumsum(outputs, axis=1) < 0.5).sum(1).clip(max=outputs.shape[1] - 1))

    def errors(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Distances in grades."""
        return np.asarray(np.abs(answers - labels), dtype=float)

    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> GradeMetrics:
        confidence = None if outputs is None else outputs[np.arange(len(answers)), answers]
        return measure(answers, labels, len(self.outputs), confidence=confidence, distinct=distinct)

    def constant(self, train: np.ndarray, n: int) -> np.ndarray:
        """The median grade."""
        return np.full(n, int(np.median(train)))

    def vote(self, weights: Tensor, labels: Tensor) -> Tensor:
        import torch

        votes = torch.zeros(len(weights), len(self.outputs)).scatter_add_(1, labels, weights)
        shares = votes / votes.sum(1, keepdim=True).clamp_min(1e-12)
        return torch.from_numpy(self.answers(shares.numpy()))

    def say(
        self,
        outputs: np.ndarray,
        inputs: Sequence[str],
        texts: Sequence[str | None],
        *,
        top: int | None,
        reject_below: float,
    ) -> list[Prediction]:
        """With the median grade in place of the most probable one, unless the input is rejected."""
        said = super().say(outputs, inputs, texts, top=top, reject_below=reject_below)
        grades = self.answers(outputs).tolist() if len(outputs) else []
        return [
            replace(one, label=self.outputs[grade], probability=float(row[grade]))
            if one.label in self.outputs
            else one
            for one, row, grade in zip(said, outputs, grades, strict=True)
        ]

    @property
    def title(self) -> str:
        return f"grading from {self.outputs[0]} to {self.outputs[-1]}"

    def ahead(self, one: Any, other: Any, metric: str) -> bool:
        return True

    def _distances(self, labels: Tensor) -> Tensor:
        """`(n, K)` of each sample's grade from all grades."""
        import torch

        grades = torch.arange(len(self.outputs))
        return (labels.cpu()[:, None] - grades).abs().double()


def _number(name: str) -> float | None:
    match = _NUMBER.match(name)
    return None if match is None else float(match[0].replace(",", "."))
