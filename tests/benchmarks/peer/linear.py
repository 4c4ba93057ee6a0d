"""scikit-learn's linear model of each task, its strength chosen by cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from job import Job, Row


def fit_predict(job: Job, train: Any, test: Any, *, strengths: np.ndarray) -> list[Row]:
    """Logistic regression for classes and for every label, ridge for numbers, on features
    `(n, D)`; `strengths` are the candidates for C and for 1 / alpha."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.multiclass import OneVsRestClassifier

    targets = np.asarray(job.targets)
    if job.task == "regression":
        model = RidgeCV(alphas=1 / strengths).fit(train, targets)
        return model.predict(test)[:, None].tolist()
    logistic = LogisticRegression(max_iter=1000)
    if job.task == "classification":
        fewest = int(np.bincount(targets).min())
        model = GridSearchCV(logistic, {"C": strengths}, cv=max(2, min(5, fewest)))
    else:
        model = OneVsRestClassifier(GridSearchCV(logistic, {"C": strengths}, cv=3))
    return model.fit(train, targets).predict_proba(test).tolist()
