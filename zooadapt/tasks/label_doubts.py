"""Labels that are probably wrong, where a sample has several: confident learning for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt.tasks import label_issues
from zooadapt.tasks.label_issues import DROP, LabelIssues


@dataclass(frozen=True, kw_only=True)
class LabelSetIssues(LabelIssues):
    """Labels that a sample probably lacks or has by mistake. Class 2k stands for the absence of
    label k, class 2k + 1 for the label."""

    def apply(self, labels: np.ndarray, action: str) -> tuple[list[Any], list[bool], int]:
        """`relabel` gives or takes the label in question alone, `drop` leaves the whole sample
        out."""
        targets, used = labels.copy(), np.ones(len(labels), dtype=bool)
        present = labels.sum(0)
        changeable = np.stack([len(labels) - present, present], axis=1).ravel() // 2
        changed = set()
        for index, given in zip(self.index.tolist(), self.given.tolist(), strict=True):
            if not changeable[given]:
                continue
            changeable[given] -= 1
            changed.add(index)
            if action == DROP:
                used[index] = False
            else:
                targets[index, given // 2] = 1 - given % 2
        return targets.tolist(), used.tolist(), len(changed)


def find(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> LabelIssues:
    """The label issues of `(n, L)` labels by held-out probabilities: each label is judged as a
    class of its own against its absence."""
    each = [
        label_issues.find(np.stack([1 - of_label, of_label], axis=1), truth)
        for of_label, truth in zip(probabilities.T, labels.T, strict=True)
    ]
    score = np.concatenate([one.score for one in each])
    order = np.argsort(-score, kind="stable")
    return LabelSetIssues(
        index=np.concatenate([one.index for one in each])[order],
        given=np.concatenate([2 * k + one.given for k, one in enumerate(each)])[order],
        likelier=np.concatenate([2 * k + one.likelier for k, one in enumerate(each)])[order],
        score=score[order],
        of=labels.size,
        names=[f"{sign}{name}" for name in names for sign in "-+"],
        reliable=any(one.reliable for one in each),
    )
