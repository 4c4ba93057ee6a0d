"""Labels that are probably wrong: confident learning (Northcutt, Jiang & Chuang, JAIR 2021) on
probabilities that a head gives to samples it was solved without."""

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
"""Of a head that may flag label errors. On flowers5 with a tenth and with three tenths of the
labels wrong, heads from 0.51 up flagged wrong labels at twice the rate of random picks and more
(2.1 to 8.8 times), one at 0.34 at 1.6 times."""
_SIGNIFICANT = 2.0
"""Standard errors."""
_ROUNDING = 1e-9
COLUMNS = ("sample", "given", "likelier", "score", "text")
"""Of a list of suspects; the last one is empty where samples are no texts."""


@dataclass(frozen=True, kw_only=True)
class LabelIssues:
    """Samples whose label is suspected, the most suspicious first."""

    index: np.ndarray
    """`(s,)` positions of the samples."""
    given: np.ndarray
    """`(s,)` the class that each is labelled as."""
    likelier: np.ndarray
    """`(s,)` the class that it rather looks like."""
    score: np.ndarray
    """`(s,)` from 0 to 1, half of 1 + how much more probable the likelier class is."""
    of: int
    """Samples that were looked at."""
    reliable: bool = True
    """Whether the head is accurate enough to flag label errors; if not, none is flagged."""

    def __len__(self) -> int:
        return len(self.index)


def find(probabilities: np.ndarray, labels: np.ndarray) -> LabelIssues:
    """The off-diagonal of the confident joint: a sample is suspected if the class that is the most
    probable for it is not its own, and at least as probable as that class is, on average, for the
    samples labelled so. (In the paper a class may be taken that is not the most probable one: where
    classes are uneven, that suspects whatever looks a little like a rare one.)

    None is flagged by a head that is right on fewer than `LEAST_ACCURACY` of the labels, or not
    significantly more often than the most frequent class would be: most of what such a head flags
    are errors of its own.

    probabilities: `(n, K)` of each sample, from models that did not learn from its label.
    """
    rows = np.arange(len(labels))
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[rows, labels], minlength=len(counts))
    usual = np.divide(own, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    likelier = probabilities.argmax(1)
    suspected = (likelier != labels) & (
        probabilities[rows, likelier] >= usual[likelier] - _ROUNDING
    )
    score = (1 + probabilities[rows, likelier] - probabilities[rows, labels]) / 2
    accuracy = float((likelier == labels).mean())
    noise = math.sqrt(accuracy * (1 - accuracy) / len(labels))
    gain = accuracy - counts.max() / len(labels)
    reliable = accuracy >= LEAST_ACCURACY and gain > _SIGNIFICANT * noise
    index = np.flatnonzero(suspected & reliable)
    index = index[np.argsort(-score[index], kind="stable")]
    return LabelIssues(
        index=index,
        given=labels[index],
        likelier=likelier[index],
        score=score[index],
        of=len(labels),
        reliable=bool(reliable),
    )


def apply(
    issues: LabelIssues, labels: np.ndarray, action: str
) -> tuple[list[int], list[bool], int]:
    """Labels to learn from, whether each sample is learned from, and how many samples that changes.

    `drop` leaves suspects out, `relabel` takes the likelier class. A class keeps at least half of
    its samples as labelled, the least suspicious ones: that many are a class, whatever they look
    like.
    """
    learned, kept = labels.copy(), np.ones(len(labels), dtype=bool)
    left = np.bincount(labels) // 2
    changed = 0
    for index, given, likelier in zip(issues.index, issues.given, issues.likelier, strict=True):
        if not left[given]:
            continue
        left[given] -= 1
        changed += 1
        if action == DROP:
            kept[index] = False
        else:
            learned[index] = likelier
    return learned.tolist(), kept.tolist(), changed


def check_place(path: Path) -> None:
    """See that a list of suspects may be written there.

    Raises: as `listings.check_place`.
    """
    csv_output.check_place(path, COLUMNS[:4], option="--suspects")


def rows(
    found: LabelIssues, ids: Sequence[str], texts: Sequence[str | None], classes: Sequence[str]
) -> list[list[Any]]:
    """The suspects as lines under `COLUMNS`; ids and texts: of all samples that were looked at."""
    each = zip(found.index.tolist(), found.given, found.likelier, found.score, strict=True)
    return [
        [ids[index], classes[given], classes[likelier], float(score), texts[index] or ""]
        for index, given, likelier, score in each
    ]
