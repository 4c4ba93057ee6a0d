"""What a task is: everything that depends on the kind of a label is one of its methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from zooadapt.errors import DataError
from zooadapt.tasks.cells import Cell, lacks
from zooadapt.tasks.figures import Figures, Shown, Table

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.tasks.codes import Codes
    from zooadapt.tasks.label_issues import LabelIssues
    from zooadapt.tasks.validation import Validation

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What is learned of every sample: how labels are read, what a head predicts of them, which
    loss is trained, how predictions are judged and what they say.

    Labels are `(n,)` or `(n, K)` arrays, whatever the task makes of them; `outputs` of a model
    `(n, K)` are what its logits mean (probabilities, values), and `answers` what it says in the end
    (classes, values). A task is found by its name in `zooadapt.tasks.TASKS`.
    """

    outputs: tuple[str, ...]
    """Names of the K outputs of the head: classes, labels, or columns of numbers."""

    name: ClassVar[str]
    noun: ClassVar[tuple[str, str]]
    """What one output stands for, and several: `("class", "classes")`."""
    shown: ClassVar[tuple[Shown, ...]]
    """The figures of tables, the most important first."""
    tags: ClassVar[tuple[str, ...]] = ()
    """What the Hub calls the kind of the task, where its name does not tell."""
    carries_rows: ClassVar[bool] = True
    """Whether a source's head row for an output of the same name is worth keeping."""
    counts_classes: ClassVar[bool] = False
    """Whether every sample has one of several classes, which `--metric` and learning curves
    count on."""
    has_classes: ClassVar[bool] = False
    """Whether `--labels-per-class` can count on classes or labels."""
    mixes: ClassVar[bool] = True
    """Whether a loss may be mixed of those of two samples."""
    smooths: ClassVar[bool] = False
    """Whether labels may be smoothed."""
    imbalances: ClassVar[tuple[str, ...]] = ("none",)
    """What `--imbalance` may be."""
    heads: ClassVar[tuple[str, ...]] = ("ridge",)
    """How a head may be fitted."""

    # Reading.

    @classmethod
    @abstractmethod
    def read(
        cls, cells: Sequence[Cell], *, columns: Sequence[str], row: Callable[[int], str]
    ) -> tuple[Self, np.ndarray]:
        """The task of these labels, and the labels as an array.

        cells: none of them lacking. columns: the names of the columns that they are from; empty
        where folders name the classes. row: the name of a row, for messages.
        Raises: DataError naming the row or output at fault.
        """

    @classmethod
    def lacks(cls, cell: Cell) -> bool:
        """Whether this is no label."""
        if isinstance(cell, tuple):
            return any(lacks(one) for one in cell)
        return lacks(cell)

    @abstractmethod
    def check(self, train: np.ndarray, *, allow_tiny: bool) -> None:
        """See that a head can be fitted to these training labels. Raises: DataError."""

    def covers(self, train: np.ndarray, other: np.ndarray) -> bool:
        """Whether everything that is to be known of the `other` labels occurs in `train`."""
        return True

    def remarks(self, labels: np.ndarray, test: np.ndarray) -> list[str]:
        """What is odd about the labels of all samples, or about those of the test part."""
        return []

    def contradicts(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether samples of the same content should not have these two labels."""
        return not np.array_equal(one, other)

    @abstractmethod
    def strata(self, labels: np.ndarray) -> np.ndarray:
        """`(n,)` numbers from 0, equal for samples that a split has to share out evenly."""

    @abstractmethod
    def spell(self, label: Any) -> str:
        """A label as text, for the fingerprint of the data: the same for the same label whatever
        other samples there are."""

    def prepared(self, train: np.ndarray) -> Self:
        """The task with what it needs to know of the training labels."""
        return self

    def aligned(self, labels: np.ndarray, of: Task, *, where: str) -> np.ndarray:
        """Labels that were read as those of another task of this name, as this one's.

        Raises: DataError for an output that this one lacks. where: the data's location.
        """
        rows = self.rows_of(of.outputs)
        self.require(of, where=where, used=np.arange(len(of.outputs)))
        return labels[:, np.argsort([rows[name] for name in of.outputs])]

    def rows_of(self, names: Sequence[str]) -> dict[str, int]:
        """The position of each of these names among the outputs, where it is one of them."""
        known = {name: row for row, name in enumerate(self.outputs)}
        return {name: known[name] for name in names if name in known}

    def require(self, of: Task, *, where: str, used: np.ndarray) -> None:
        """Raises: DataError for outputs of `of` among those `used` that this task lacks."""
        rows = self.rows_of(of.outputs)
        unknown = sorted({of.outputs[k] for k in used} - set(rows))
        if unknown:
            raise DataError(
                f"'{where}' holds {self.noun[1]} that the model does not know: "
                f"{', '.join(unknown[:_SHOWN])}",
                thing=unknown[0],
                remedy=f"its {self.noun[1]} are {', '.join(self.outputs[:20])}",
            )

    # Solving a head.

    @abstractmethod
    def codes(self, labels: Tensor) -> Codes:
        """The targets of ridge regression."""

    @abstractmethod
    def calibrate(
        self, logits: Tensor, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What makes logits of held-out `(n, K)` predictions of ridge regression: scale and shift,
        each a scalar or `(K,)`, and the `(n,)` weighted losses with them. weights: `(n,)`."""

    @abstractmethod
    def rescale(self, logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        """The one factor on logits with the lowest weighted loss, and the `(n,)` losses there."""

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The `(n,)` losses of `(n, K)` logits."""

    @abstractmethod
    def ignorance(self, labels: Tensor) -> float:
        """The mean loss of the best prediction that knows no features."""

    def variants(self, train: np.ndarray) -> tuple[Self, ...]:
        """Ways to represent these labels, this one first, of which held-out predictions choose."""
        return (self,)

    @property
    def representation(self) -> str:
        """This variant, as a person reads it."""
        return self.noun[1]

    def surprise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`(n,)` losses that may be compared between variants."""
        return self.losses(logits, labels)

    # Training.

    def counts(self, train: np.ndarray) -> np.ndarray:
        """`(K,)` how often each output is positive; empty where that means nothing."""
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def evening(self, train: Tensor) -> Tensor:
        """`(K,)` float64 weights of outputs that even them out; ones where that means nothing."""

    def sample_weights(self, labels: Tensor, evening: Tensor) -> Tensor:
        """`(n,)` weights of samples by those of the outputs."""
        import torch

        return torch.ones(len(labels), dtype=torch.float64)

    @abstractmethod
    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        evening: Tensor,
        imbalance: str,
        label_smoothing: float,
    ) -> Tensor:
        """The mean loss of a batch, differentiable."""

    @abstractmethod
    def validate(self, logits: Tensor, labels: Tensor, evening: Tensor, metric: str) -> Validation:
        """The figures of an epoch on the validation part."""

    # Judging and saying.

    @abstractmethod
    def outputs_of(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """What `(n, K)` logits mean: probabilities, or values. For an array no torch is needed."""

    @abstractmethod
    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """What a model of these `(n, K)` outputs says in the end."""

    @abstractmethod
    def errors(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`(n,)` how wrong each answer is; 0 is right."""

    @abstractmethod
    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> Figures:
        """The scores of answers against n labels.

        answers: of n samples, or of R times as many, one drawing after the other. outputs: those
        that the answers rest on, where there are any. distinct: how many samples are no duplicates,
        which intervals are for.
        """

    @abstractmethod
    def constant(self, train: np.ndarray, n: int) -> np.ndarray:
        """The n answers of the best model that knows no features."""

    @abstractmethod
    def vote(self, weights: Tensor, labels: Tensor) -> Tensor:
        """`(m, …)` answers by the labels `(m, k)` or `(m, k, K)` of k neighbours with `(m, k)`
        weights."""

    @abstractmethod
    def linear(self, features: Any, labels: np.ndarray, held_out: Any) -> np.ndarray:
        """The answers for held-out rows of a linear model of sparse features, by scikit-learn."""

    @abstractmethod
    def say(
        self,
        outputs: np.ndarray,
        inputs: Sequence[str],
        texts: Sequence[str | None],
        *,
        top: int | None,
        reject_below: float,
    ) -> list[Any]:
        """The `Answer` of each of n inputs by `(n, K)` outputs.

        top: of how many outputs to give probabilities, by default all; reject_below: the least
        probability of a label.
        Raises: UsageError where no input can be rejected.
        """

    @abstractmethod
    def listing(
        self, said: Sequence[Any], *, top: int | None, truth: np.ndarray | None
    ) -> tuple[list[str], Iterator[list[Any]]]:
        """Columns and lines of a list of what `say` gave. truth: the labels, where known."""

    def doubts(self, outputs: np.ndarray, labels: np.ndarray) -> LabelIssues | None:
        """Labels that are probably wrong, by `(n, K)` outputs of models that were not fitted to
        them; None where that cannot be told."""
        return None

    @property
    @abstractmethod
    def title(self) -> str:
        """The task as the title of a card has it after the modality."""

    def hub_task(self, pipeline_tag: str) -> str:
        """The Hub's name of the task, where classification of such samples is `pipeline_tag`."""
        return pipeline_tag

    @abstractmethod
    def hub_metrics(self, figures: Any) -> list[dict[str, Any]]:
        """The scores as the Hub's `model-index` has them."""

    @abstractmethod
    def card_summary(self, measured: Sequence[tuple[str, Any]]) -> list[str]:
        """Paragraphs of a card with the figures of every part and baseline, by its label."""

    @abstractmethod
    def card_sections(self, figures: Any) -> list[str]:
        """Paragraphs of a card about the outputs."""

    @abstractmethod
    def limits(self, figures: Any) -> list[str]:
        """What a reader of a card should not expect of the model."""

    def headline(self, figures: Figures) -> float:
        """The figure that two models are compared by."""
        return float(figures.summary()[self.shown[0].key])

    ignorant: ClassVar[str] = "the most frequent class"
    """The best model that knows no features, as a person reads it."""
    compared: ClassVar[str] = "its {figure} on the {samples} is {better:.3f}, here {worse:.3f}"
    """Two headlines as a person reads them."""
    nearer: ClassVar[str] = "less wrong about"
    """What the better of two models is of a sample where `compare` tells them apart."""
    test: ClassVar[str] = "a sign test"
    """The name of the test of `compare`."""

    def ahead(self, one: Any, other: Any, metric: str) -> bool:
        """Whether the first of two figures is better by the metric that a model was chosen for, if
        that is another than what `errors` tells."""
        return True

    def scores_of(self, figures: Figures) -> dict[str, Any]:
        """What `evaluate` gives."""
        return figures.summary() | {"classes": list(self.outputs)} | figures.details()

    def tables(self, figures: Any) -> list[Table]:
        """What `evaluate` shows beside the scores."""
        return []

    def settled(self, outputs: np.ndarray, labels: np.ndarray) -> Self:
        """The task with what it learns of held-out predictions: thresholds, or widths of
        intervals."""
        return self

    def folding(self) -> tuple[Tensor, Tensor] | None:
        """Scale and shift `(K,)` by which logits become those of the export; None for none."""
        return None

    def exported(self) -> Self:
        """The task of a head that `folding` was folded into."""
        return self

    def facts(self) -> dict[str, Any]:
        """What an export's config says of the task beside its name and outputs."""
        return {}

    @classmethod
    def from_facts(cls, outputs: Sequence[str], facts: Mapping[str, Any]) -> Self:
        """The inverse of `facts`. Raises: DataError for facts that no export has."""
        return cls(outputs=tuple(outputs))
