"""Metrics and their uncertainty: coverage of intervals, calibration, an exact test."""

from __future__ import annotations

import numpy as np
import pytest

from zooadapt.tasks.metrics import BINS, calibration, compare, measure


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are right three times in four, and labels of four uneven classes."""
    labels = rng.choice(4, size=n, p=[0.5, 0.25, 0.15, 0.1])
    predicted = np.where(rng.random(n) < 0.75, labels, rng.integers(4, size=n))
    return predicted, labels


def test_bootstrap_intervals_have_their_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    truth = measure(*drawn(rng, 400_000), 4)
    covered = np.zeros(2)
    for _ in range(300):
        metrics = measure(*drawn(rng, 150), 4)
        for k, (name, interval) in enumerate(
            [("macro_f1", metrics.macro_f1_interval),
             ("balanced_accuracy", metrics.balanced_accuracy_interval)]
        ):  # fmt: skip
            covered[k] += interval[0] <= getattr(truth, name) <= interval[1]
    assert ((covered / 300 >= 0.9) & (covered / 300 <= 0.985)).all(), covered / 300


def test_intervals_are_deterministic() -> None:
    predicted, labels = drawn(np.random.default_rng(1), 200)
    assert measure(predicted, labels, 4).summary() == measure(predicted, labels, 4).summary()


def test_metrics_equal_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    predicted, labels = drawn(np.random.default_rng(2), 90)
    metrics = measure(predicted, labels, 7)
    balanced = sklearn.balanced_accuracy_score(labels, predicted)
    assert metrics.macro_f1 == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"))
    assert metrics.balanced_accuracy == pytest.approx(balanced)
    matrix = metrics.confusion.matrix()[:4, :4]
    assert np.array_equal(matrix, sklearn.confusion_matrix(labels, predicted))


def test_few_samples_without_an_error_have_wide_intervals() -> None:
    labels = np.arange(20) % 4
    metrics = measure(labels, labels, 4)
    assert metrics.macro_f1 == 1.0
    assert metrics.macro_f1_interval == metrics.balanced_accuracy_interval == metrics.interval
    assert metrics.interval[0] < 0.9


def test_repeated_predictions_do_not_narrow_intervals() -> None:
    predicted, labels = drawn(np.random.default_rng(3), 120)
    once, thrice = measure(predicted, labels, 4), measure(np.tile(predicted, 3), labels, 4)
    assert thrice.n == once.n == 120 and thrice.accuracy == pytest.approx(once.accuracy)
    assert thrice.interval == pytest.approx(once.interval)
    assert thrice.macro_f1_interval == pytest.approx(once.macro_f1_interval, abs=0.02)


@pytest.mark.parametrize("n", [60, 500, 20_000])
def test_exact_confidences_have_the_error_expected_by_chance(n: int) -> None:
    rng = np.random.default_rng(n)
    measured = []
    for _ in range(40):
        confidence = rng.uniform(0.3, 1.0, n)
        measured.append(calibration(confidence, rng.random(n) < confidence))
    errors, chances = ([getattr(one, key) for one in measured] for key in ("error", "by_chance"))
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.1)
    assert n < 20_000 or np.mean(errors) < 0.015


def test_overconfidence_is_the_calibration_error() -> None:
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.6, 0.9, 30_000)
    measured = calibration(confidence, rng.random(30_000) < confidence - 0.2)
    assert measured.error == pytest.approx(0.2, abs=0.01)


def test_fewer_predictions_than_bins_have_a_calibration_error() -> None:
    measured = calibration(np.array([0.9, 0.6]), np.array([True, False]))
    assert BINS > 2 and measured.error == pytest.approx((0.1 + 0.6) / 2)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 1), (5, 5), (12, 2), (300, 220)])
def test_a_comparison_is_the_exact_sign_test(better: int, worse: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    first = np.array([True] * better + [False] * worse + [True] * 7 + [False] * 3)
    second = np.array([False] * better + [True] * worse + [True] * 7 + [False] * 3)
    comparison = compare("second", ~first, ~second)
    p = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    counts = comparison.better, comparison.worse, comparison.n
    assert counts == (better, worse, better + worse + 10)
    assert comparison.p == pytest.approx(p, rel=1e-6)
    assert comparison.significant == comparison.to_json()["told_apart"] == (p < 0.05)
