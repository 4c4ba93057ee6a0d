"""Figures and their uncertainty, against what they claim: coverage, calibration, an exact test."""

from __future__ import annotations

import numpy as np
import pytest

from zooadapt.heads.metrics import BINS, calibration, compare, measure


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of four uneven classes and what a model that is right three times in four says."""
    labels = rng.choice(4, size=n, p=[0.5, 0.25, 0.15, 0.1])
    said = np.where(rng.random(n) < 0.75, labels, rng.integers(4, size=n))
    return said, labels


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = measure(*drawn(rng, 400_000), 4)
    held = np.zeros(2)
    for _ in range(300):
        found = measure(*drawn(rng, 150), 4)
        for k, (name, interval) in enumerate(
            [("macro_f1", found.macro_f1_interval),
             ("balanced_accuracy", found.balanced_accuracy_interval)]
        ):  # fmt: skip
            held[k] += interval[0] <= getattr(truth, name) <= interval[1]
    assert ((0.9 <= held / 300) & (held / 300 <= 0.985)).all(), held / 300


def test_intervals_are_a_function_of_the_predictions() -> None:
    said, labels = drawn(np.random.default_rng(1), 200)
    assert measure(said, labels, 4).summary() == measure(said, labels, 4).summary()


def test_figures_equal_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    said, labels = drawn(np.random.default_rng(2), 90)
    found = measure(said, labels, 7)
    assert found.macro_f1 == pytest.approx(sklearn.f1_score(labels, said, average="macro"))
    assert found.balanced_accuracy == pytest.approx(sklearn.balanced_accuracy_score(labels, said))
    assert np.array_equal(found.confusion.matrix()[:4, :4], sklearn.confusion_matrix(labels, said))


def test_no_error_in_few_samples_is_no_certainty() -> None:
    labels = np.arange(20) % 4
    found = measure(labels, labels, 4)
    assert found.macro_f1 == 1.0
    assert found.macro_f1_interval == found.balanced_accuracy_interval == found.interval
    assert found.interval[0] < 0.9


def test_predicting_every_sample_again_makes_no_more_samples() -> None:
    said, labels = drawn(np.random.default_rng(3), 120)
    once, thrice = measure(said, labels, 4), measure(np.tile(said, 3), labels, 4)
    assert thrice.n == once.n == 120 and thrice.accuracy == pytest.approx(once.accuracy)
    assert thrice.interval == pytest.approx(once.interval)
    assert thrice.macro_f1_interval == pytest.approx(once.macro_f1_interval, abs=0.02)


@pytest.mark.parametrize("n", [60, 500, 20_000])
def test_exact_confidences_have_the_error_that_chance_makes(n: int) -> None:
    rng = np.random.default_rng(n)
    found = []
    for _ in range(40):
        said = rng.uniform(0.3, 1.0, n)
        found.append(calibration(said, rng.random(n) < said))
    errors, chances = ([getattr(one, key) for one in found] for key in ("error", "by_chance"))
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.1)
    assert n < 20_000 or np.mean(errors) < 0.015


def test_too_high_confidences_have_the_error_they_are_too_high_by() -> None:
    rng = np.random.default_rng(4)
    said = rng.uniform(0.6, 0.9, 30_000)
    found = calibration(said, rng.random(30_000) < said - 0.2)
    assert found.error == pytest.approx(0.2, abs=0.01)


def test_fewer_predictions_than_bins() -> None:
    found = calibration(np.array([0.9, 0.6]), np.array([True, False]))
    assert 2 < BINS and found.error == pytest.approx((0.1 + 0.6) / 2)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 1), (5, 5), (12, 2), (300, 220)])
def test_the_comparison_is_the_exact_sign_test(better: int, worse: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    mine = np.array([True] * better + [False] * worse + [True] * 7 + [False] * 3)
    other = np.array([False] * better + [True] * worse + [True] * 7 + [False] * 3)
    found = compare("other", mine, other)
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert (found.better, found.worse, found.n) == (better, worse, better + worse + 10)
    assert found.p == pytest.approx(expected, rel=1e-6)
    assert found.significant == (expected < 0.05)
