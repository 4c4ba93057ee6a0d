"""The baseline of texts: TF-IDF of words and characters with logistic regression.

The only module that imports scikit-learn's models; a run imports it after training.
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
"""Punctuation counts as words: it distinguishes questions and advertisements."""
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (1, 4), "lowercase": False}
"""Words are counted in lower case, characters in the case that they have."""
INVERSE_L2 = 30.0
"""10, 30 and 100 are within half a point of each other in the mean of three data sets with 10 and
20 labels a class and with all of them."""
_TOLERANCE = 1e-2
"""Of liblinear: a tenth of it takes half as long again for the same accuracy."""


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
        self, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> list[np.ndarray]:
        """For each pair of positions (training, held out) the predicted labels of the held-out
        samples, of which fitting uses nothing. labels: `(n,)`. Deterministic."""
        with ThreadPoolExecutor() as pool:  # liblinear runs without the interpreter's lock
            return list(pool.map(partial(self._predict, labels), *zip(*folds, strict=True)))

    def _predict(self, labels: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        counts = np.bincount(labels[train], minlength=1)
        if (counts > 0).sum() < 2 or not self._counts or not len(held_out):
            return np.full(len(held_out), counts.argmax())
        blocks = []
        for whole in self._counts:
            used = whole[train].getnnz(axis=0) > 0
            weight = TfidfTransformer(sublinear_tf=True).fit(whole[train][:, used])
            blocks.append([weight.transform(whole[rows][:, used]) for rows in (train, held_out)])
        features, held_out_features = (hstack(each).tocsr() for each in zip(*blocks, strict=True))
        model = OneVsRestClassifier(
            LogisticRegression(
                C=INVERSE_L2, solver="liblinear", tol=_TOLERANCE, max_iter=100, random_state=0
            )
        )
        return np.asarray(model.fit(features, labels[train]).predict(held_out_features))


def _parts(sample: str) -> tuple[str, ...]:
    return (sample.first, sample.second) if isinstance(sample, TextPair) else (sample,)
