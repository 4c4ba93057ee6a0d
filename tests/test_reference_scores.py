"""LogME and the H-score, beside computations that share nothing with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from zooadapt.heads.reference_scores import h_score, log_evidence


def sample(n: int, dim: int, classes: int, *, signal: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + dim)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    means = rng.normal(size=(classes, dim))
    return rng.normal(size=(n, dim)) + 0.4 + signal * means[labels], labels


def evidence_of_class(features: np.ndarray, target: np.ndarray) -> float:
    """The marginal likelihood as the normal density of the targets, maximised without gradients."""
    gram, n = features @ features.T, len(target)

    def loss(logs: np.ndarray) -> float:
        prior, noise = np.exp(-logs)
        covariance = prior * gram + noise * np.eye(n)
        return float(-multivariate_normal.logpdf(target, np.zeros(n), covariance))

    starts = [(a, b) for a in (0.0, 4.0) for b in (1.0, 4.0)]
    options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    fits = [minimize(loss, one, method="Nelder-Mead", options=options).fun for one in starts]
    return -min(fits) / n


@pytest.mark.parametrize(
    ("n", "dim", "classes", "signal"), [(40, 6, 3, 1.0), (24, 40, 2, 0.5), (60, 12, 4, 0.2)]
)
def test_logme_is_the_maximum_of_the_evidence(
    n: int, dim: int, classes: int, signal: float
) -> None:
    features, labels = sample(n, dim, classes, signal=signal)
    expected = np.mean([evidence_of_class(features, labels == k) for k in range(classes)])
    score = log_evidence(torch.from_numpy(features), torch.from_numpy(labels), classes)
    assert score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("n", "dim", "classes"), [(50, 7, 3), (30, 45, 4)])
def test_h_score_is_the_trace_of_the_papers_matrices(n: int, dim: int, classes: int) -> None:
    features, labels = sample(n, dim, classes, signal=0.5)
    means = np.stack([features[labels == k].mean(0) for k in labels])
    product = np.linalg.pinv(np.cov(features, rowvar=False)) @ np.cov(means, rowvar=False)
    score = h_score(torch.from_numpy(features), torch.from_numpy(labels), classes)
    assert score == pytest.approx(np.trace(product), rel=1e-6)
    assert dim < n or score == pytest.approx(classes - 1)


def test_better_features_have_higher_scores() -> None:
    for score in (log_evidence, h_score):
        values = []
        for signal in (0.0, 0.3, 1.0):
            features, labels = map(torch.from_numpy, sample(80, 8, 3, signal=signal))
            values.append(score(features, labels, 3))
        assert values == sorted(values) and values[0] < values[2] - 0.05


def test_classes_that_do_not_occur_and_features_that_say_nothing_are_no_error() -> None:
    features, labels = map(torch.from_numpy, sample(30, 5, 3, signal=1.0))
    for score in (log_evidence, h_score):
        assert score(features, labels, 3) == pytest.approx(score(features, labels, 9))
    zeros = torch.zeros(4, 3)
    assert h_score(zeros, torch.tensor([0, 1, 0, 1]), 2) == 0
    assert np.isfinite(log_evidence(zeros, torch.tensor([0, 1, 0, 1]), 2))
