"""Numbers: one or several for each sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from zooadapt.errors import DataError, UsageError
from zooadapt.runtime.wording import listed
from zooadapt.tasks import number_card, number_issues, number_lists, numbers
from zooadapt.tasks.cells import Cell, check_number
from zooadapt.tasks.figures import Shown, Table
from zooadapt.tasks.number_metrics import NumberMetrics, measure
from zooadapt.tasks.numbers import LEVEL, Scale
from zooadapt.tasks.predictions import NumberPrediction
from zooadapt.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.codes import Codes
    from zooadapt.tasks.label_issues import LabelIssues
    from zooadapt.tasks.validation import Validation

_BINS, _IN_BIN = 10, 5
"""Strata are bins of equally many samples: so many at most, of so many samples at least."""
_SKEWED = 1.0
"""Skewness from which positive numbers count as heavy-tailed."""
_Numbers = TypeVar("_Numbers", np.ndarray, "Tensor")


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Labels are `(n, K)` float64, outputs and answers `(n, K)` values of the same units.

    Logits are standardised: `scales` say what a logit of 0 and of 1 mean, in the numbers
    themselves or in their logarithms. An export's head gives numbers, or their logarithms, as they
    are.
    """

    scales: tuple[Scale, ...] = ()
    """Of each output; empty before the training labels are known."""
    widths: tuple[float, ...] = ()
    """Half of a 90 % interval around each logit; empty before held-out predictions are known."""

    name = "regression"
    noun = ("column", "columns")
    shown = (
        Shown(title="R2", key="r2", interval="r2_interval"),
        Shown(title="MAE", key="mae", interval="mae_interval"),
        Shown(title="RMSE", key="rmse", interval="rmse_interval"),
        Shown(title="Pearson", key="pearson", interval="pearson_interval"),
        Shown(title="Spearman", key="spearman", interval="spearman_interval"),
    )
    carries_rows = False
    ignorant = "the mean"

    @classmethod
    def read(
        cls, cells: Sequence[Cell], *, columns: Sequence[str], row: Callable[[int], str]
    ) -> tuple[Self, np.ndarray]:
        """Raises: DataError for a cell that is no finite number."""
        names = tuple(columns) or ("value",)
        check_number(names, cls.noun)
        return cls(outputs=names), numbers.read(cells, names, row)

    def check(self, train: np.ndarray, *, allow_tiny: bool) -> None:
        """See that no column is constant."""
        constant = [
            name for name, column in zip(self.outputs, train.T, strict=True) if np.ptp(column) == 0
        ]
        if constant:
            value = train[0, self.outputs.index(constant[0])]
            raise DataError(
                f"every training sample has {value:g} in column '{constant[0]}'",
                thing=constant[0],
                remedy="name a column of different numbers",
            )

    def remarks(self, labels: np.ndarray, test: np.ndarray) -> list[str]:
        return number_issues.remarks(self.outputs, labels)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Bins of the first column."""
        bins = max(1, min(_BINS, len(labels) // _IN_BIN))
        rank = np.argsort(np.argsort(labels[:, 0], kind="stable"), kind="stable")
        return np.asarray(rank * bins // max(1, len(labels)))

    def spell(self, label: Any) -> str:
        return " ".join(repr(float(value)) for value in label)

    def prepared(self, train: np.ndarray) -> Self:
        return replace(self, scales=tuple(Scale.of(column, log=False) for column in train.T))

    def aligned(self, labels: np.ndarray, of: Task, *, where: str) -> np.ndarray:
        if len(self.outputs) == len(of.outputs) == 1:  # another table may call it otherwise
            return labels
        return super().aligned(labels, of, where=where)

    def codes(self, labels: Tensor) -> Codes:
        from zooadapt.tasks.codes import Dense

        return Dense(self._standardised(labels))

    def calibrate(
        self, logits: Tensor, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        losses = self.losses(logits, labels) * weights / weights.mean()
        return torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), losses

    def rescale(self, logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        return 1.0, self.losses(logits, labels) * weights / weights.mean()

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Squared errors of standardised numbers."""
        return (logits - self._standardised(labels).to(logits)).square().mean(1)

    def ignorance(self, labels: Tensor) -> float:
        return float(self._standardised(labels).var(0, correction=0).mean())

    def variants(self, train: np.ndarray) -> tuple[Self, ...]:
        """As they are, and with the logarithms of positive columns with a heavy tail."""
        heavy = [bool((column > 0).all()) and _skewness(column) > _SKEWED for column in train.T]
        if not any(heavy):
            return (self,)
        scales = [Scale.of(c, log=h) for c, h in zip(train.T, heavy, strict=True)]
        return self, replace(self, scales=tuple(scales))

    @property
    def representation(self) -> str:
        logged = [n for n, s in zip(self.outputs, self.scales, strict=True) if s.log]
        return f"logarithms of {listed(logged)}" if logged else "numbers as they are"

    def surprise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Negative log densities of the numbers themselves, if errors are normal on the scale."""
        import torch

        residuals = (logits - self._standardised(labels).to(logits)).double()
        variance = residuals.square().mean(0).clamp_min(1e-12)
        density = 0.5 * (residuals.square() / variance + variance.log())
        stretch = torch.stack(
            [
                math.log(scale.std) + (column.log() if scale.log else torch.zeros_like(column))
                for scale, column in zip(self.scales, labels.T, strict=True)
            ],
            1,
        )
        return (density + stretch).sum(1)

    def evening(self, train: Tensor) -> Tensor:
        import torch

        return torch.ones(len(self.outputs), dtype=torch.float64)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        evening: Tensor,
        imbalance: str,
        label_smoothing: float,
    ) -> Tensor:
        """Half of the squared error, beyond one standard deviation of the labels the absolute one
        (Huber 1964): single numbers that are far off do not decide a step."""
        from torch import nn

        return nn.functional.huber_loss(logits, self._standardised(labels).to(logits))

    def validate(self, logits: Tensor, labels: Tensor, evening: Tensor, metric: str) -> Validation:
        from zooadapt.tasks.validation import Validation

        losses = self.losses(logits.double(), labels)
        score = 1 - float(losses.mean()) / max(self.ignorance(labels), 1e-12)
        return Validation(
            loss=float(losses.mean()), accuracy=score, score=score, scale=1.0, losses=losses
        )

    def outputs_of(self, logits: Tensor | np.ndarray) -> np.ndarray:
        return self._natural(np.asarray(logits, dtype=np.float64))

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def errors(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Absolute errors in standard deviations of the scale, the mean of the columns."""
        gap = self._standardised(answers) - self._standardised(labels)
        return np.asarray(np.abs(gap).mean(1))

    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> NumberMetrics:
        bounds = self.bounds(answers) if outputs is not None and self.widths else None
        return measure(
            answers,
            labels,
            self.outputs,
            bounds=bounds,
            logs=all(scale.log for scale in self.scales),
            distinct=distinct,
        )

    def constant(self, train: np.ndarray, n: int) -> np.ndarray:
        """The mean on the scale."""
        mean = self._natural(self._standardised(train).mean(0, keepdims=True))
        return np.repeat(mean, n, axis=0)

    def vote(self, weights: Tensor, labels: Tensor) -> Tensor:
        import torch

        each = self._standardised(labels).to(weights)
        mean = (weights[..., None] * each).sum(1) / weights.sum(1, keepdim=True).clamp_min(1e-12)
        return torch.from_numpy(self._natural(mean.double().numpy()))

    def linear(self, features: Any, labels: np.ndarray, held_out: Any) -> np.ndarray:
        """Ridge regression."""
        from zooadapt.tasks.linear import regressor

        model = regressor().fit(features, self._standardised(labels))
        return self._natural(model.predict(held_out).reshape(-1, len(self.outputs)))

    def settled(self, outputs: np.ndarray, labels: np.ndarray) -> Self:
        """With the width of intervals: a quantile of held-out residuals. Of leave-one-out residuals
        that is the jackknife, which the jackknife+ (Barber et al. 2021, arXiv 1905.02928) equals
        where the head hardly changes by leaving out a sample."""
        residuals = np.abs(self._standardised(outputs) - self._standardised(labels))
        n = len(residuals)
        rank = min(n, math.ceil(LEVEL * (n + 1))) - 1
        return replace(self, widths=tuple(np.sort(residuals, axis=0)[rank].tolist()))

    def bounds(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ends `(n, K)` of 90 % intervals around `(n, K)` values."""
        logits, width = self._standardised(outputs), np.array(self.widths)
        return self._natural(logits - width), self._natural(logits + width)

    def folding(self) -> tuple[Tensor, Tensor]:
        import torch

        return torch.tensor([s.std for s in self.scales]), torch.tensor(
            [s.mean for s in self.scales]
        )

    def exported(self) -> Self:
        widths = [w * s.std for w, s in zip(self.widths, self.scales, strict=False)]
        scales = [Scale(log=scale.log) for scale in self.scales]
        return replace(self, scales=tuple(scales), widths=tuple(widths))

    def facts(self) -> dict[str, Any]:
        return {
            "scales": [scale.to_json() for scale in self.scales],
            "widths": list(self.widths),
            "level": LEVEL,
        }

    @classmethod
    def from_facts(cls, outputs: Sequence[str], facts: Mapping[str, Any]) -> Self:
        scales, widths = numbers.of_facts(facts, len(outputs))
        return cls(outputs=tuple(outputs), scales=scales, widths=widths)

    def doubts(self, outputs: np.ndarray, labels: np.ndarray) -> LabelIssues:
        on_scale = self._standardised(outputs), self._standardised(labels)
        return number_issues.find(*on_scale, outputs, labels)

    def say(
        self,
        outputs: np.ndarray,
        inputs: Sequence[str],
        texts: Sequence[str | None],
        *,
        top: int | None,
        reject_below: float,
    ) -> list[NumberPrediction]:
        if reject_below > 0:
            raise UsageError(
                "the model predicts numbers, which have no probability",
                thing="--reject-below",
                remedy="leave it out; the interval says how sure the model is",
            )
        bounds = self.bounds(outputs) if self.widths else None
        return number_lists.predictions(self.outputs, outputs, bounds, inputs, texts)

    def listing(
        self, said: Sequence[Any], *, top: int | None, truth: np.ndarray | None
    ) -> tuple[list[str], Iterator[list[Any]]]:
        return number_lists.of_predictions(self.outputs, said, truth=truth)

    @classmethod
    def first_columns(cls, *, measured: bool) -> Sequence[str]:
        return number_lists.first_columns()

    def tables(self, figures: NumberMetrics) -> list[Table]:
        return number_lists.by_column(figures)

    @property
    def title(self) -> str:
        return f"regression of {listed(list(self.outputs))}"

    def hub_metrics(self, figures: NumberMetrics) -> list[dict[str, Any]]:
        return number_card.hub_metrics(figures)

    def card_summary(self, measured: Sequence[tuple[str, NumberMetrics]]) -> list[str]:
        return number_card.summary(measured)

    def card_sections(self, figures: NumberMetrics) -> list[str]:
        return number_card.sections(self.outputs, figures)

    def limits(self, figures: NumberMetrics) -> list[str]:
        return number_card.limits(figures)

    def _standardised(self, labels: _Numbers) -> _Numbers:
        """Numbers as logits; their last axis is that of the outputs."""
        return numbers.written(labels, self.scales)

    def _natural(self, logits: np.ndarray) -> np.ndarray:
        columns = [s.natural(logits[..., k]) for k, s in enumerate(self.scales)]
        return np.stack(columns, -1)


def _skewness(column: np.ndarray) -> float:
    centred = column - column.mean()
    spread = float(centred.std())
    return float((centred**3).mean()) / spread**3 if spread else 0.0
