"""What the words and characters of texts tell without any network: TF-IDF and logistic regression.

The only module that imports scikit-learn's models, and only once a run's network has done its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from zooadapt.family import TextPair

WORDS = {"token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2)}
"""Punctuation is a word of its own: it tells questions and advertisements apart."""
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (1, 4), "lowercase": False}
"""Words are the same in capitals; what is written in capitals is seen here."""
INVERSE_L2 = 30.0
"""Of 10, 30 and 100 none is better throughout: on three sets with 10 and 20 labels a class and with
all of them they are within half a point of each other in the mean."""
_TOLERANCE = 1e-2
"""Of liblinear's Newton steps: a tenth of it takes half as long again for the same accuracy."""


def sizes(samples: Sequence[str]) -> np.ndarray:
    """`(n,)` characters of each sample."""
    return np.array([sum(map(len, _parts(sample))) for sample in samples], dtype=np.int64)


class Predictor:
    """Counts of the words and characters of texts; those of the two texts of pairs apart."""

    def __init__(self, samples: Sequence[str]) -> None:
        columns = zip(*map(_parts, samples), strict=True)
        self._counts = [
            CountVectorizer(**unit).fit_transform(column).tocsr()
            for column in columns
            if any(text.strip() for text in column)
            for unit in (WORDS, CHARACTERS)
        ]

    def predict(
        self, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> list[np.ndarray]:
        """For each pair of positions (learned from, asked) the predicted labels of those asked.
        `labels` is `(n,)`; what is asked tells nothing of what is learned. A function of its
        arguments alone."""
        with ThreadPoolExecutor() as pool:  # liblinear runs without the interpreter's lock
            return list(pool.map(partial(self._predict, labels), *zip(*folds, strict=True)))

    def _predict(self, labels: np.ndarray, learned: np.ndarray, asked: np.ndarray) -> np.ndarray:
        counts = np.bincount(labels[learned], minlength=1)
        if (counts > 0).sum() < 2 or not self._counts or not len(asked):
            return np.full(len(asked), counts.argmax())
        blocks = []
        for whole in self._counts:
            used = whole[learned].getnnz(axis=0) > 0
            weight = TfidfTransformer(sublinear_tf=True).fit(whole[learned][:, used])
            blocks.append([weight.transform(whole[rows][:, used]) for rows in (learned, asked)])
        rows, wanted = (hstack(each).tocsr() for each in zip(*blocks, strict=True))
        model = OneVsRestClassifier(
            LogisticRegression(
                C=INVERSE_L2, solver="liblinear", tol=_TOLERANCE, max_iter=100, random_state=0
            )
        )
        return model.fit(rows, labels[learned]).predict(wanted)


def _parts(sample: str) -> tuple[str, ...]:
    return (sample.first, sample.second) if isinstance(sample, TextPair) else (sample,)
