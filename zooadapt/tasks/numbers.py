"""Numbers as they are written, and the scale on which they are predicted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted
from zooadapt.tasks.cells import Cell

if TYPE_CHECKING:
    from torch import Tensor

LEVEL = 0.9
"""Share of labels that intervals are to cover."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_LONGEST = 60
_LEAST = 1e-300
_Numbers = TypeVar("_Numbers", np.ndarray, "Tensor")


def parsed(cell: str) -> float | None:
    """A number as tables have it, with a point or a comma; None for anything else."""
    cell = cell.strip()
    if len(cell) > _LONGEST or not _NUMBER.fullmatch(cell):
        return None
    return float(cell.replace(",", "."))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a logit of 0 and of 1 mean: `mean` and `mean + std`, of numbers or of logarithms."""

    log: bool = False
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, column: np.ndarray, *, log: bool) -> Self:
        """By the `(n,)` training labels."""
        column = np.log(column) if log else column
        return cls(log=log, mean=float(column.mean()), std=float(column.std()) or 1.0)

    def natural(self, logits: np.ndarray) -> np.ndarray:
        """The numbers that logits mean."""
        values = logits * self.std + self.mean
        return np.exp(np.minimum(values, 700.0)) if self.log else values

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Raises: TypeError, ValueError or AttributeError for what `to_json` never gives."""
        log, mean, std = facts.get("log", False), facts.get("mean", 0), facts.get("std", 1)
        if not isinstance(log, bool) or not math.isfinite(mean) or not 0 < std < math.inf:
            raise ValueError(facts)
        return cls(log=log, mean=float(mean), std=float(std))


def written(numbers: _Numbers, scales: Sequence[Scale]) -> _Numbers:
    """Numbers on their scales; the last axis is that of the outputs. Of a number that has no
    logarithm, it is that of a very small one."""
    if isinstance(numbers, np.ndarray):
        each = [np.log(np.maximum(numbers[..., k], _LEAST)) if s.log else numbers[..., k]
                for k, s in enumerate(scales)]  # fmt: skip
        scaled = [(column - s.mean) / s.std for column, s in zip(each, scales, strict=True)]
        return np.stack(scaled, -1)
    import torch

    columns = [
        ((numbers[..., k].clamp_min(_LEAST).log() if s.log else numbers[..., k]) - s.mean) / s.std
        for k, s in enumerate(scales)
    ]
    return torch.stack(columns, -1)


def read(cells: Sequence[Cell], names: Sequence[str], row: Callable[[int], str]) -> np.ndarray:
    """The `(n, K)` numbers of these rows. Raises: DataError for a cell that is no finite number."""
    rows = [cell if isinstance(cell, tuple) else (cell,) for cell in cells]
    labels = np.empty((len(rows), len(names)))
    for k, values in enumerate(rows):
        if len(values) != len(names):
            raise DataError(
                f"'{row(k)}' has {counted(len(values), 'number')} and {len(names)} are wanted",
                thing=row(k),
                remedy="give every row one number for each column",
            )
        for column, value in enumerate(values):
            number = parsed(value or "")
            if number is None or not math.isfinite(number):
                raise DataError(
                    f"'{row(k)}' has '{value}' in column '{names[column]}', which is no finite "
                    "number",
                    thing=row(k),
                    remedy="correct it, or leave the cell empty and --drop-unlabelled skips it",
                )
            labels[k, column] = number
    return labels


def of_facts(facts: Mapping[str, Any], count: int) -> tuple[tuple[Scale, ...], tuple[float, ...]]:
    """The scales and the widths of intervals of an export. Raises: DataError for unknown ones."""
    try:
        scales = [Scale.from_json(one) for one in facts.get("scales") or [{}] * count]
        widths = [float(width) for width in facts.get("widths") or ()]
        if len(scales) != count or len(widths) not in (0, count):
            raise ValueError(facts)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "config.json describes the scale of its numbers in no known way",
            thing="zooadapt.task",
            remedy="export the model again",
        ) from error
    return tuple(scales), tuple(widths)
