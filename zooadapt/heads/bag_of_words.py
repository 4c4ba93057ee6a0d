"""The baseline of texts: TF-IDF of words and characters, for the linear model of a task.

Imports scikit-learn; a run imports it after training.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from zooadapt.family import TextPair
from zooadapt.tasks.task import Task

WORDS = {"token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2)}
"""Punctuation counts as words: it distinguishes questions and advertisements."""
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (1, 4), "lowercase": False}
"""Words are counted in lower case, characters in the case that they have."""


def sizes(samples: Sequence[str]) -> np.ndarray:
    """`(n,)` characters of each sample."""
    return np.array([sum(map(len, _parts(sample))) for sample in samples], dtype=np.int64)


class Predictor:
    """Counts of the words and characters of texts, separate for the two texts of pairs."""

    def __init__(self, samples: Sequence[str]) -> None:
        columns = zip(*map(_parts, samples), strict=True)
        self._counts = [
            CountVectorizer(**unit).fit_transform(column).tocsr()
            for column in columns
            if any(text.strip() for text in column)
            for unit in (WORDS, CHARACTERS)
        ]

    def predict(
        self, task: Task, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> list[np.ndarray]:
        """For each pair of positions (training, held out) the answers for the held-out samples, of
        which fitting uses nothing. labels: `(n,)` or `(n, K)`. Deterministic."""
        with ThreadPoolExecutor() as pool:  # liblinear runs without the interpreter's lock
            answer = partial(self._predict, task, labels)
            return list(pool.map(answer, *zip(*folds, strict=True)))

    def _predict(
        self, task: Task, labels: np.ndarray, train: np.ndarray, held_out: np.ndarray
    ) -> np.ndarray:
        if len(np.unique(labels[train], axis=0)) < 2 or not self._counts or not len(held_out):
            return task.constant(labels[train] if len(train) else labels, len(held_out))
        blocks = []
        for whole in self._counts:
            used = whole[train].getnnz(axis=0) > 0
            weight = TfidfTransformer(sublinear_tf=True).fit(whole[train][:, used])
            blocks.append([weight.transform(whole[rows][:, used]) for rows in (train, held_out)])
        features, held_out_features = (hstack(each).tocsr() for each in zip(*blocks, strict=True))
        return task.linear(features, labels[train], held_out_features)


def _parts(sample: str) -> tuple[str, ...]:
    return (sample.first, sample.second) if isinstance(sample, TextPair) else (sample,)
