"""The proof of an ONNX file: what torch and onnxruntime compute from the same samples, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.backbone.onnx_model import FLOAT
from zooadapt.errors import DataError
from zooadapt.tasks.metrics import wilson

if TYPE_CHECKING:
    from torch import Tensor

MOST_DIFFERENCE = 1e-3
"""Of the logits of a float file."""
LEAST_EQUAL = 0.99
"""The share of equal labels of an int8 file."""
MOST_LOST = 0.005
"""The accuracy that an int8 file may lose."""
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Of how many samples the results were compared, and how they differ."""

    samples: int
    of: str
    """Which samples these are."""
    max_difference: float
    """Of the logits."""
    equal_labels: float
    equal_labels_interval: tuple[float, float]
    """95 % Wilson interval."""
    accuracy: float | None = None
    """Of the file; None for samples without labels."""
    accuracy_lost: float | None = None
    """Torch's accuracy minus that of the file."""
    accuracy_lost_interval: tuple[float, float] | None = None
    """95 % interval of this difference of paired samples (Agresti & Min 2005)."""

    def to_json(self) -> dict[str, Any]:
        """For metadata and `--json`: numbers rounded to what they mean."""
        values = {
            "samples": self.samples,
            "of": self.of,
            "max_difference": float(f"{self.max_difference:.3g}"),
            "equal_labels": round(self.equal_labels, 6),
            "equal_labels_interval": [round(bound, 4) for bound in self.equal_labels_interval],
        }
        if self.accuracy is not None and self.accuracy_lost_interval is not None:
            values |= {
                "accuracy": round(self.accuracy, 6),
                "accuracy_lost": round(self.accuracy_lost or 0.0, 6),
                "accuracy_lost_interval": [round(k, 4) for k in self.accuracy_lost_interval],
            }
        return values

    def faults(self, kind: str) -> list[str]:
        """The bounds that a file of this kind breaks, each in words; none for a proved one."""
        faults = []
        if not math.isfinite(self.max_difference):
            faults.append("a logit is not a finite number")
        elif kind == FLOAT and self.max_difference > MOST_DIFFERENCE:
            faults.append(
                f"logits differ by up to {self.max_difference:.2g}, the bound is "
                f"{MOST_DIFFERENCE:g}"
            )
        if kind != FLOAT and self.equal_labels < LEAST_EQUAL:
            faults.append(
                f"{100 * self.equal_labels:.1f} % of the labels are equal, the bound is "
                f"{100 * LEAST_EQUAL:g} %"
            )
        if kind != FLOAT and (self.accuracy_lost or 0.0) > MOST_LOST + 1e-9:
            faults.append(
                f"{100 * (self.accuracy_lost or 0.0):.1f} points of accuracy are lost, the bound "
                f"is {100 * MOST_LOST:g}"
            )
        return faults


def compare(
    torch_logits: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    of: str,
    is_classes: bool = True,
) -> Proof:
    """The proof from `(n, K)` logits of the same samples. labels: `(n,)`, -1 for none. is_classes:
    a label is the largest logit; otherwise answers are equal if their logits are, up to the
    bound."""
    one, other = torch_logits.argmax(1), logits.argmax(1)
    n = len(one)
    same = one == other
    if not is_classes:
        same = np.abs(torch_logits - logits).max(1) <= MOST_DIFFERENCE
    equal = int(same.sum())
    known = labels >= 0 if is_classes else np.zeros(n, dtype=bool)
    accuracy: dict[str, Any] = {}
    if known.any():
        before, after = (guess[known] == labels[known] for guess in (one, other))
        lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
        accuracy = {
            "accuracy": float(after.mean()),
            "accuracy_lost": (lost - gained) / len(after),
            "accuracy_lost_interval": _paired(lost, gained, len(after)),
        }
    difference = np.abs(torch_logits - logits).max()
    return Proof(
        samples=n,
        of=of,
        max_difference=float(difference),
        equal_labels=equal / n,
        equal_labels_interval=wilson(equal, n),
        **accuracy,
    )


def first_difference(
    expected: Sequence[tuple[str, Tensor]], arrays: Sequence[np.ndarray]
) -> str | None:
    """The first stage whose activations differ; None where all are equal up to rounding.

    expected: torch's activations with the names of their stages; arrays: the file's.
    """
    for (stage, tensor), array in zip(expected, arrays, strict=True):
        values = tensor.float().numpy()
        if values.shape != array.shape:
            return f"{stage} gives {array.shape}, torch {values.shape}"
        scale = max(1.0, float(np.abs(values).max()))
        difference = float(np.abs(values - array).max())
        if not difference <= MOST_DIFFERENCE * scale:
            return f"'{stage}' differs first, by {difference:.2g}"
    return None


def check(proof: Proof, kind: str, *, where: str | None, path: str) -> None:
    """See that a file keeps the bounds.

    Raises: DataError saying which bound it breaks and, where known, which stage differs first.
    """
    if faults := proof.faults(kind):
        stage = f"; {where}" if where else ""
        raise DataError(
            f"'{path}' was not written: {'; '.join(faults)} ({proof.samples} samples){stage}",
            thing=path,
            remedy="zooadapt predict runs the model with torch"
            if kind == FLOAT
            else "--to onnx exports it in float",
        )


def lines(proof: Mapping[str, Any]) -> list[str]:
    """A proof for readers, from its JSON."""
    low, high = (100 * bound for bound in proof["equal_labels_interval"])
    lines = [
        f"torch and onnxruntime on {proof['samples']} samples ({proof['of']}): "
        f"{100 * proof['equal_labels']:.1f} % of the labels equal ({low:.1f} to {high:.1f}), "
        f"logits differ by at most {proof['max_difference']:.2g}"
    ]
    if "accuracy" in proof:
        low, high = (100 * bound + 0.0 for bound in proof["accuracy_lost_interval"])
        lines.append(
            f"accuracy {proof['accuracy']:.3f}, {100 * proof['accuracy_lost'] + 0.0:.1f} points "
            f"lost ({low:.1f} to {high:.1f})"
        )
    return lines


def _paired(lost: int, gained: int, n: int) -> tuple[float, float]:
    b, c, n = lost + 0.5, gained + 0.5, n + 2
    centre = (b - c) / n
    half = _Z * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    return centre - half, centre + half
