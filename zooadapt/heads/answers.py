"""What a model answered, sample by sample, where its scores were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of a model on labelled samples that it did not learn from."""

    parts: tuple[str, ...]
    """The parts of the data that the samples belong to."""
    position: np.ndarray
    """`(n,)` positions of the samples in these parts, one part after the other."""
    label: np.ndarray
    """`(n,)` true classes."""
    predicted: np.ndarray
    """`(n,)` the most probable classes."""
    confidence: np.ndarray
    """`(n,)` their probabilities."""

    def errors(self, most: int) -> np.ndarray:
        """Rows of at most so many wrong answers, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.label)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]

    def right(self, most: int) -> np.ndarray:
        """Rows of at most so many right answers, from the most to the least confident in even
        steps."""
        right = np.flatnonzero(self.predicted == self.label)
        right = right[np.argsort(-self.confidence[right], kind="stable")]
        steps = np.linspace(0, len(right) - 1, min(most, len(right)))
        return np.asarray(right[np.unique(np.rint(steps).astype(int))])


def of_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, rows: np.ndarray, parts: tuple[str, ...]
) -> Answers:
    """The answers by `(n, K)` probabilities for the samples of these parts that `rows` `(n,)`
    marks."""
    position = np.flatnonzero(rows)
    chosen = probabilities[position]
    return Answers(
        parts=parts,
        position=position,
        label=labels[position],
        predicted=chosen.argmax(1),
        confidence=chosen.max(1),
    )
