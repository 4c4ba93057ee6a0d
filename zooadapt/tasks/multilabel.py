"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks import label_card, label_cells, label_doubts, label_lists, thresholds
from zooadapt.tasks.cells import Cell
from zooadapt.tasks.figures import Shown, Table
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.label_lists import LabelSet
from zooadapt.tasks.label_metrics import LabelMetrics, mean_average_precision, measure
from zooadapt.tasks.spelling import loosely, others, twins
from zooadapt.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.codes import Codes
    from zooadapt.tasks.validation import Validation


@dataclass(frozen=True, kw_only=True)
class Multilabel(Task):
    """Labels are `(n, L)` int64, 1 where a sample has a label; outputs are the probabilities of the
    labels, each on its own; answers are these probabilities, of which `decisions` are made."""

    thresholds: tuple[float, ...] = ()
    """The least probability of each label that a sample is given; empty before held-out predictions
    have told them, where it is one half."""

    name = "multilabel"
    noun = ("label", "labels")
    shown = (
        Shown(title="mAP", key="map", interval="map_interval"),
        Shown(title="micro F1", key="micro_f1", interval="micro_f1_interval"),
        Shown(title="macro F1", key="macro_f1", interval="macro_f1_interval"),
    )
    tags = ("multi-label-classification",)
    has_classes = smooths = True
    imbalances = ("none", "weights")
    ignorant = "how frequent each label is"

    @classmethod
    def read(
        cls, cells: Sequence[Cell], *, columns: Sequence[str], row: Callable[[int], str]
    ) -> tuple[Self, np.ndarray]:
        """Labels are sorted by name, however the cells write them; names are normalised to NFC.

        Raises: DataError as `label_cells.read`.
        """
        names, labels = label_cells.read(cells, columns=columns, row=row, noun=cls.noun)
        return cls(outputs=names), labels

    @classmethod
    def lacks(cls, cell: Cell) -> bool:
        """An empty string, or an empty list, is a sample without any label."""
        parts = cell if isinstance(cell, tuple) else (cell,)
        return any(part is None or part == "NaN" for part in parts)

    def check(self, train: np.ndarray, *, allow_tiny: bool) -> None:
        """See that there are labels, each on two training samples or more and missing on one."""
        names, counts = self.outputs, train.sum(0)
        if not names:
            raise DataError(
                "no sample has a label",
                thing="labels",
                remedy="--label-column names the column that holds them",
            )
        never = [names[k] for k in np.flatnonzero(counts == 0)]
        if never:
            alike = [
                name
                for name, count in zip(names, counts, strict=True)
                if count and loosely(name) == loosely(never[0])
            ]
            raise DataError(
                f"label '{never[0]}'{others(never)} is on no training sample"
                + (f"; the training part has '{alike[0]}'" if alike else ""),
                thing=never[0],
                remedy="spell it alike in all parts"
                if alike
                else "add training samples with it or remove it",
            )
        always = [names[k] for k in np.flatnonzero(counts == len(train))]
        if always:
            raise DataError(
                f"label '{always[0]}'{others(always)} is on every training sample, so that nothing "
                "can be learned of it",
                thing=always[0],
                remedy="add training samples without it or remove it",
            )
        single = [names[k] for k in np.flatnonzero(counts == 1)]
        if single and not allow_tiny:
            raise DataError(
                f"label '{single[0]}'{others(single)} is on a single training sample",
                thing=single[0],
                remedy="add samples, or --allow-tiny",
            )

    def covers(self, train: np.ndarray, other: np.ndarray) -> bool:
        return bool((train.any(0) | ~other.any(0)).all())

    def remarks(self, labels: np.ndarray, test: np.ndarray) -> list[str]:
        notes = []
        bare = int((~labels.any(1)).sum())
        if bare:
            notes.append(f"{counted(bare, 'sample has', 'samples have')} none of the labels")
        untested = [self.outputs[k] for k in np.flatnonzero(~test.any(0))]
        if untested and len(test):
            count = counted(len(untested), "label has", "labels have")
            notes.append(f"{count} no test sample: {listed([repr(name) for name in untested])}")
        return notes + twins(self.outputs, labels.sum(0).tolist(), self.noun)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """The rarest label of a sample, from 1; 0 where it has none."""
        counts = np.where(labels > 0, labels.sum(0), len(labels) + 1)
        return np.asarray(np.where(labels.any(1), 1 + counts.argmin(1), 0))

    def spell(self, label: Any) -> str:
        return label_lists.JOINT.join(self.outputs[k] for k in np.flatnonzero(label))

    def aligned(self, labels: np.ndarray, of: Task, *, where: str) -> np.ndarray:
        """Labels of the model that the data lacks are on none of its samples."""
        self.require(of, where=where, used=np.flatnonzero(labels.any(0)))
        rows = self.rows_of(of.outputs)
        aligned = np.zeros((len(labels), len(self.outputs)), dtype=np.int64)
        for k, name in enumerate(of.outputs):
            if name in rows:
                aligned[:, rows[name]] = labels[:, k]
        return aligned

    def codes(self, labels: Tensor) -> Codes:
        from zooadapt.tasks.codes import Dense

        return Dense(2 * labels - 1)

    def calibrate(
        self, logits: Tensor, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Platt scaling of each label."""
        from zooadapt.tasks.platt import scales_and_shifts

        return scales_and_shifts(logits, labels, weights)

    def rescale(self, logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        from zooadapt.tasks.platt import best_scale

        return best_scale(logits, labels, weights)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean binary cross-entropy over the labels."""
        from torch import nn

        return nn.functional.binary_cross_entropy_with_logits(
            logits, labels.to(logits), reduction="none"
        ).mean(1)

    def ignorance(self, labels: Tensor) -> float:
        import torch

        shares = labels.double().mean(0)
        return float((torch.special.entr(shares) + torch.special.entr(1 - shares)).mean())

    def counts(self, train: np.ndarray) -> np.ndarray:
        return np.asarray(train.sum(0))

    def evening(self, train: Tensor) -> Tensor:
        """As often as each label is missing for every time that it is there."""
        present = train.double().sum(0)
        return (len(train) - present).clamp_min(1) / present.clamp_min(1)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        evening: Tensor,
        imbalance: str,
        label_smoothing: float,
    ) -> Tensor:
        """Binary cross-entropy."""
        from torch import nn

        targets = labels.to(logits) * (1 - label_smoothing) + label_smoothing / 2
        weights = evening.to(logits) if imbalance == "weights" else None
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)

    def validate(self, logits: Tensor, labels: Tensor, evening: Tensor, metric: str) -> Validation:
        """The score is the mean average precision."""
        import torch

        from zooadapt.tasks.calibration import LEAST_SCALE
        from zooadapt.tasks.validation import Validation

        weights = torch.ones(len(logits), dtype=torch.float64)
        scale, losses = self.rescale(logits.double(), labels, weights)
        score = mean_average_precision(logits.numpy(), labels.numpy())
        return Validation(
            loss=float(losses.mean()),
            accuracy=score,
            score=score,
            scale=max(scale, LEAST_SCALE),
            losses=losses,
        )

    def outputs_of(self, logits: Tensor | np.ndarray) -> np.ndarray:
        if isinstance(logits, np.ndarray):
            return np.asarray(np.exp(-np.logaddexp(0, -logits)))
        return logits.sigmoid().numpy()

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """`(n, L)` whether each sample is given each label."""
        return np.asarray(answers >= self._thresholds)

    def errors(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How many labels are wrong or missing where a label is given from `EVEN` on: of calibrated
        probabilities that is the fewest, while thresholds for F1 are bought with errors."""
        return np.asarray(((answers >= thresholds.EVEN) != labels).sum(1), dtype=float)

    def ahead(self, one: LabelMetrics, other: LabelMetrics, metric: str) -> bool:
        return one.mean_average_precision > other.mean_average_precision

    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> LabelMetrics:
        """Answers that rest on no outputs are those of a baseline, which has the thresholds that
        suit it best on the very samples: its F1 is at least what it could be elsewhere."""
        cuts = self._thresholds
        if outputs is None:
            cuts = np.array(thresholds.for_f1(answers, labels))
        return measure(answers, labels, self.outputs, cuts, distinct=distinct)

    def settled(self, outputs: np.ndarray, labels: np.ndarray) -> Self:
        """With the threshold of each label that has the highest F1 there."""
        return replace(self, thresholds=thresholds.for_f1(outputs, labels))

    def constant(self, train: np.ndarray, n: int) -> np.ndarray:
        """How frequent each label is."""
        return np.tile(train.mean(0), (n, 1))

    def vote(self, weights: Tensor, labels: Tensor) -> Tensor:
        share = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
        return (share[..., None] * labels).sum(1).clamp(0, 1)

    def linear(self, features: Any, labels: np.ndarray, held_out: Any) -> np.ndarray:
        """One logistic regression for each label."""
        from zooadapt.tasks.linear import label_probabilities

        return label_probabilities(features, labels, held_out)

    def say(
        self,
        outputs: np.ndarray,
        inputs: Sequence[str],
        texts: Sequence[str | None],
        *,
        top: int | None,
        reject_below: float,
    ) -> list[LabelSet]:
        return label_lists.label_sets(
            self.outputs,
            outputs,
            self.decisions(outputs),
            inputs,
            texts,
            top=top,
            reject_below=reject_below,
        )

    def listing(
        self, said: Sequence[Any], *, top: int | None, truth: np.ndarray | None
    ) -> tuple[list[str], Iterator[list[Any]]]:
        return label_lists.of_label_sets(self.outputs, said, top=top, truth=truth)

    @classmethod
    def first_columns(cls, *, measured: bool) -> Sequence[str]:
        return label_lists.first_columns(measured=measured)

    def tables(self, figures: LabelMetrics) -> list[Table]:
        """The scores of few labels."""
        return label_lists.table(figures)

    def doubts(self, outputs: np.ndarray, labels: np.ndarray) -> LabelIssues:
        return label_doubts.find(outputs, labels, self.outputs)

    @property
    def title(self) -> str:
        return f"multi-label classification with {len(self.outputs)} labels"

    def hub_metrics(self, figures: LabelMetrics) -> list[dict[str, Any]]:
        return [
            {
                "type": "mean_average_precision",
                "name": "mAP",
                "value": round(figures.mean_average_precision, 6),
            },
            {"type": "f1", "name": "micro F1", "value": round(figures.micro_f1, 6)},
            {"type": "f1", "name": "macro F1", "value": round(figures.macro_f1, 6)},
        ]

    def card_summary(self, measured: Sequence[tuple[str, LabelMetrics]]) -> list[str]:
        return label_card.summary(measured)

    def card_sections(self, figures: LabelMetrics) -> list[str]:
        return label_card.sections(figures)

    def limits(self, figures: LabelMetrics) -> list[str]:
        return label_card.limits(figures)

    def facts(self) -> dict[str, Any]:
        return {"thresholds": list(self._thresholds)}

    @classmethod
    def from_facts(cls, outputs: Sequence[str], facts: Mapping[str, Any]) -> Self:
        if "thresholds" not in facts:  # a model of another library
            return cls(outputs=tuple(outputs))
        return cls(
            outputs=tuple(outputs), thresholds=thresholds.checked(facts["thresholds"], len(outputs))
        )

    @property
    def _thresholds(self) -> np.ndarray:
        return np.array(self.thresholds or [thresholds.EVEN] * len(self.outputs))
