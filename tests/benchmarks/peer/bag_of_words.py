"""TF-IDF of words and of characters, and scikit-learn's linear model of the task."""

from __future__ import annotations

import numpy as np
from job import Job, Row, Unable, run
from linear import fit_predict


def predict(job: Job) -> list[Row]:
    if job.modality != "text":
        raise Unable("a bag of words needs texts")
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizers = [
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 4), analyzer="char_wb"),
    ]
    train = csr_matrix(hstack([each.fit_transform(job.train) for each in vectorizers]))
    test = csr_matrix(hstack([each.transform(job.test) for each in vectorizers]))
    return fit_predict(job, train, test, strengths=np.logspace(-1, 1, 5))


if __name__ == "__main__":
    run(predict)
