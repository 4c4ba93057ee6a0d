"""Label issues, which are labels that are probably wrong: confident learning (Northcutt, Jiang &
Chuang, JAIR 2021) on held-out probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zooadapt.runtime import csv_output

KEEP, DROP, RELABEL = "keep", "drop", "relabel"
LEAST_ACCURACY = 0.5
"""Of a head that may flag label issues. On flowers5 with a tenth and with three tenths of the
labels wrong, heads of accuracy 0.51 and more flagged wrong labels at 2.1 to 8.8 times the rate of
random picks, a head of 0.34 at 1.6 times."""
_SIGNIFICANT = 2.0
"""Standard errors."""
_ROUNDING = 1e-9
COLUMNS = ("sample", "given", "likelier", "score", "text")
"""Of a list of label issues; the last one is empty for images."""


@dataclass(frozen=True, kw_only=True)
class LabelIssues:
    """Samples whose label is probably wrong, the most probable first."""

    index: np.ndarray
    """`(s,)` positions of the samples."""
    given: np.ndarray
    """`(s,)` classes of their labels."""
    likelier: np.ndarray
    """`(s,)` the most probable classes."""
    score: np.ndarray
    """`(s,)` from 0 to 1: half of 1 + probability of the likelier class - that of the given one."""
    of: int
    """Number of labels examined."""
    names: Sequence[str] = ()
    """What the numbers of classes stand for, as a list shows it."""
    reliable: bool = True
    """Whether the head is accurate enough to flag label issues; if not, none is flagged."""

    def __len__(self) -> int:
        return len(self.index)

    def apply(self, labels: np.ndarray, action: str) -> tuple[list[Any], list[bool], int]:
        """Labels to train on, whether to train on each sample, and the number of samples changed:
        `drop` leaves label issues out, `relabel` replaces the label by the likelier class. At least
        half of each class stays as it is, the least probable issues."""
        return apply(self, labels, action)


def find(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str] = ()) -> LabelIssues:
    """The off-diagonal of the confident joint: a sample is flagged if its most probable class is
    not that of its label, and is at least as probable as that class is, on average, for the samples
    labelled so. (The paper also counts classes that are not the most probable one: with imbalanced
    classes that flags samples with a slight likeness to a rare class.)

    A head flags nothing if it is right on fewer than `LEAST_ACCURACY` of the labels, or is not
    significantly better than the most frequent class: it would mostly flag its own errors.

    probabilities: `(n, K)`, each sample's by a model that was not fitted to its label.
    """
    rows = np.arange(len(labels))
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[rows, labels], minlength=len(counts))
    thresholds = np.divide(own, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    likelier = probabilities.argmax(1)
    flagged = (likelier != labels) & (
        probabilities[rows, likelier] >= thresholds[likelier] - _ROUNDING
    )
    score = (1 + probabilities[rows, likelier] - probabilities[rows, labels]) / 2
    accuracy = float((likelier == labels).mean())
    noise = math.sqrt(accuracy * (1 - accuracy) / len(labels))
    gain = accuracy - counts.max() / len(labels)
    reliable = accuracy >= LEAST_ACCURACY and gain > _SIGNIFICANT * noise
    index = np.flatnonzero(flagged & reliable)
    index = index[np.argsort(-score[index], kind="stable")]
    return LabelIssues(
        index=index,
        given=labels[index],
        likelier=likelier[index],
        score=score[index],
        of=len(labels),
        names=names,
        reliable=bool(reliable),
    )


def apply(
    issues: LabelIssues, labels: np.ndarray, action: str
) -> tuple[list[int], list[bool], int]:
    """As `LabelIssues.apply`."""
    targets, used = labels.copy(), np.ones(len(labels), dtype=bool)
    changeable = np.bincount(labels) // 2
    changed = 0
    for index, given, likelier in zip(issues.index, issues.given, issues.likelier, strict=True):
        if not changeable[given]:
            continue
        changeable[given] -= 1
        changed += 1
        if action == DROP:
            used[index] = False
        else:
            targets[index] = likelier
    return targets.tolist(), used.tolist(), changed


def check_place(path: Path) -> None:
    """See that a list of label issues may be written there.

    Raises: as `csv_output.check_place`.
    """
    csv_output.check_place(path, COLUMNS[:4], option="--suspects")


def rows(issues: LabelIssues, ids: Sequence[str], texts: Sequence[str | None]) -> list[list[Any]]:
    """The label issues as rows of `COLUMNS`; ids and texts: of all samples examined."""
    each = zip(issues.index.tolist(), issues.given, issues.likelier, issues.score, strict=True)
    return [
        [ids[index], issues.names[given], issues.names[likelier], float(score), texts[index] or ""]
        for index, given, likelier, score in each
    ]
