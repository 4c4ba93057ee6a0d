"""Learning curves: the power law through known points, and its extrapolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zooadapt.heads import fitting, learning_curve
from zooadapt.heads.learning_curve import Point, extrapolate
from zooadapt.tasks.classification import Classification


def clouds(n: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(5, 100)) * 0.12
    labels = rng.integers(5, size=n)
    return torch.from_numpy(centres[labels] + rng.normal(size=(n, 100))).float(), labels


def measured(n: int, seed: int) -> tuple[learning_curve.Curve, float]:
    """The curve of n samples, and the true accuracy for twice as many."""
    x, labels = clouds(n, seed)
    more, more_labels = clouds(2 * n, seed + 1000)
    test, truth = clouds(8000, 5)
    fit, twice = (
        fitting.fit_head(lambda a=a: iter(a.split(64)), torch.from_numpy(b), Classification.of(5))
        for a, b in ((x, labels), (more, more_labels))
    )
    used = np.ones(n, dtype=bool)
    curve = learning_curve.measure(lambda: iter(x.split(64)), labels, labels, used, fit, seed=seed)
    predicted = (test @ twice.weight.T + twice.bias).argmax(1).numpy()
    return curve, float((predicted == truth).mean())


def test_an_exact_power_law_is_recovered() -> None:
    points = [Point(samples=n, accuracy=1 - 2 * n**-0.4, n=10**7) for n in (50, 100, 200, 400)]
    curve = extrapolate(points)
    assert curve.exponent == pytest.approx(0.4, abs=1e-3)
    assert curve.twice == pytest.approx(1 - 2 * 800**-0.4, abs=1e-3)
    low, high = curve.twice_interval
    assert low <= curve.twice <= high < low + 0.01
    assert "twice the labels" in curve.sentence


def test_predicted_accuracy_never_falls_and_scatter_widens_its_interval() -> None:
    falling = extrapolate(
        [Point(samples=n, accuracy=0.8 - n / 4000, n=200) for n in (50, 100, 200)]
    )
    assert falling.exponent == 0 and falling.twice == pytest.approx(0.75)
    assert falling.twice_interval[0] == pytest.approx(0.75)
    sizes, smooth, rough = (50, 100, 200, 400), (0.7, 0.75, 0.79, 0.825), (0.7, 0.66, 0.86, 0.825)
    widths = []
    for accuracies in (smooth, rough):
        low, high = extrapolate(
            [Point(samples=n, accuracy=a, n=300) for n, a in zip(sizes, accuracies, strict=True)]
        ).twice_interval
        widths.append(high - low)
    assert widths[1] > widths[0]
    assert extrapolate([Point(samples=n, accuracy=1.0, n=100) for n in (50, 100, 200)]).twice == 1.0


def test_the_gain_of_twice_the_labels_is_predicted() -> None:
    gains, actual = [], []
    for seed in range(4):
        curve, twice = measured(300, seed)
        gains.append(curve.twice - curve.points[-1].accuracy)
        actual.append(twice - curve.points[-1].accuracy)
        assert [p.samples for p in curve.points[:-1]] == pytest.approx([37, 75, 150], abs=3)
        assert curve.points[0].accuracy < curve.points[2].accuracy < curve.points[3].accuracy
    assert np.mean(gains) == pytest.approx(np.mean(actual), abs=0.02) and np.mean(actual) > 0.02


def test_large_sets_are_subsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_curve, "MOST", 400)
    curve, _ = measured(600, 1)
    assert [point.samples for point in curve.points] == pytest.approx([50, 100, 200, 600], abs=5)


def test_too_few_samples_make_no_curve() -> None:
    assert measured(30, 0)[0] is None


def test_groups_stay_whole_in_a_curve() -> None:
    """Twenty copies of each sample: without groups, heads are measured on copies they fitted."""
    x, labels = clouds(40, 3)
    x, labels, groups = x.repeat(20, 1), np.tile(labels, 20), np.tile(np.arange(40), 20)
    fit = fitting.fit_head(lambda: iter([x]), torch.from_numpy(labels), Classification.of(5))
    used = np.ones(len(labels), dtype=bool)
    rows = lambda: iter([x])  # noqa: E731
    split = learning_curve.measure(rows, labels, labels, used, fit, seed=0)
    whole = learning_curve.measure(rows, labels, labels, used, fit, seed=0, groups=groups)
    assert split.points[2].accuracy == 1.0 and whole.points[2].accuracy < 0.8
