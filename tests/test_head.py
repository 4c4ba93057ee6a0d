"""Fitted heads against brute-force leave-one-out and a reference optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zooadapt.backbone import head_layer
from zooadapt.heads import fitting
from zooadapt.heads.logistic import Logistic
from zooadapt.heads.ridge import Ridge
from zooadapt.tasks import calibration
from zooadapt.tasks.classification import Classification
from zooadapt.tasks.codes import OneHot

TWO, THREE = Classification.of(2), Classification.of(3)


def problem(n: int, dim: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(n + dim)
    x = torch.randn(n, dim, generator=rng) + 3
    table = torch.randn(classes, dim, generator=rng)
    labels = (x @ table.T + 4 * torch.randn(n, classes, generator=rng)).argmax(1)
    weights = torch.rand(n, generator=rng).double() + 0.5
    return x, labels, weights * n / weights.sum()


@pytest.mark.parametrize(("n", "dim"), [(30, 8), (12, 40)])
def test_leave_one_out_equals_fitting_without_each_sample(n: int, dim: int) -> None:
    x, labels, weights = problem(n, dim, 3)
    ridge = Ridge(lambda: iter(x.split(5)), OneHot(labels, 3), weights)
    predicted = ridge.held_out([4.0])[0]
    y = nn.functional.one_hot(labels, 3).double() * 2 - 1
    for k in range(n):
        keep = torch.arange(n) != k
        a, b, w = x[keep].double(), y[keep], weights[keep]
        mean, target = w @ a / w.sum(), w @ b / w.sum()
        rows = (a - mean) * w.sqrt()[:, None]
        gram = rows.T @ rows + 4.0 * torch.eye(dim).double()
        fitted = torch.linalg.solve(gram, rows.T @ ((b - target) * w.sqrt()[:, None]))
        expected = (x[k].double() - mean) @ fitted + target
        torch.testing.assert_close(predicted[k], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "dim", "step"), [(40, 6, 1), (40, 6, 3), (20, 35, 1)])
def test_out_of_fold_equals_fitting_without_each_fold(n: int, dim: int, step: int) -> None:
    x, labels, weights = problem(n, dim, 3)
    weights[3] = 0.0
    weights *= n / weights.sum()
    fold = torch.arange(n) % 4
    ridge = Ridge(lambda: iter(x.split(7)), OneHot(labels, 3), weights)
    (predicted,) = ridge.out_of_fold([2.0], fold, step=step)
    y = nn.functional.one_hot(labels, 3).double() * 2 - 1
    expected = torch.empty(n, 3).double()
    for number in range(4):
        keep = fold != number
        a, b, w = x[keep].double(), y[keep], weights[keep]
        mean, target = w @ a / w.sum(), w @ b / w.sum()
        rows = (a - mean) * w.sqrt()[:, None]
        gram = rows.T @ rows + 2.0 * torch.eye(dim).double()
        fitted = torch.linalg.solve(gram, rows.T @ ((b - target) * w.sqrt()[:, None]))
        expected[~keep] = (x[~keep].double() - mean) @ fitted + target
    torch.testing.assert_close(predicted, expected[::step], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "dim", "step", "sizes"),
    [
        (40, 6, 1, [1, 2, 2, 3, 5, 27]),  # more samples in a group than directions, and fewer
        (40, 6, 3, [1, 2, 2, 3, 5, 27]),
        (20, 35, 1, [2, 2, 8, 8]),
    ],
)
def test_leave_one_group_out_equals_fitting_without_each_group(
    n: int, dim: int, step: int, sizes: list[int]
) -> None:
    x, labels, weights = problem(n, dim, 3)
    x = x.double()
    weights[3] = 0.0
    weights *= n / weights.sum()
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    groups = groups[torch.randperm(n, generator=torch.Generator().manual_seed(1))]
    ridge = Ridge(lambda: iter(x.split(7)), OneHot(labels, 3), weights)
    predictions = ridge.held_out([2.0, 0.1], step=step, groups=groups)
    y = nn.functional.one_hot(labels, 3).double() * 2 - 1
    for l2, predicted in zip([2.0, 0.1], predictions, strict=True):
        expected = torch.empty(n, 3).double()
        for number in groups.unique():
            keep = groups != number
            a, b, w = x[keep], y[keep], weights[keep]
            mean, target = w @ a / w.sum(), w @ b / w.sum()
            rows = (a - mean) * w.sqrt()[:, None]
            gram = rows.T @ rows + l2 * torch.eye(dim).double()
            fitted = torch.linalg.solve(gram, rows.T @ ((b - target) * w.sqrt()[:, None]))
            expected[~keep] = (x[~keep] - mean) @ fitted + target
        torch.testing.assert_close(predicted, expected[::step], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_grouped_duplicates_do_not_predict_each_other(kind: str) -> None:
    rng = torch.Generator().manual_seed(0)
    once, labels = torch.randn(60, 80, generator=rng), torch.arange(60) % 3
    x, repeated = once.repeat(3, 1), labels.repeat(3)
    groups = np.tile(np.arange(60), 3)

    def accuracy(rows: Tensor, labels: Tensor, groups: np.ndarray | None) -> float:
        fit = fitting.fit_head(lambda: iter([rows]), labels, THREE, kind=kind, groups=groups)
        return float((fit.held_out_logits.argmax(1) == labels).double().mean())

    assert accuracy(x, repeated, None) > 0.9
    assert accuracy(x, repeated, groups) < 0.5  # the labels are random
    if kind == "ridge":  # the penalties form a grid, and three times the samples bear more of them
        assert abs(accuracy(x, repeated, groups) - accuracy(once, labels, None)) < 0.1


def test_one_group_of_all_samples_gives_finite_predictions() -> None:
    x, labels, _ = problem(12, 5, 3)
    fit = fitting.fit_head(lambda: iter([x]), labels, THREE, groups=np.zeros(12, dtype=int))
    assert fit.held_out_logits.isfinite().all() and fit.weight.isfinite().all()


def test_a_sample_of_weight_zero_is_predicted_and_not_fitted() -> None:
    x, labels, _ = problem(60, 5, 3)
    weights = torch.ones(60)
    weights[::4] = 0
    used = weights > 0
    fit = fitting.fit_head(lambda: iter([x]), labels, THREE, weights=weights)
    alone = fitting.fit_head(lambda: iter([x[used]]), labels[used], THREE)
    direct = x[~used] @ fit.weight.T + fit.bias
    torch.testing.assert_close(fit.held_out_logits[~used], direct, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fit.weight, alone.weight, rtol=1e-3, atol=1e-4)
    same = fit.held_out_logits[used]
    torch.testing.assert_close(same, alone.held_out_logits, rtol=1e-3, atol=1e-3)


def test_both_gram_matrices_give_the_same_solution() -> None:
    x, labels, weights = problem(24, 24, 3)
    by_samples = Ridge(lambda: iter(x.split(7)), OneHot(labels, 3), weights).solution(1.0)
    wide = torch.cat([x, torch.zeros(24, 1)], 1)[:, :24]
    tall = torch.cat([wide, wide[:1]])
    more = torch.cat([weights, torch.zeros(1).double() + 1e-12])
    by_dims = Ridge(lambda: iter(tall.split(7)), OneHot(torch.cat([labels, labels[:1]]), 3), more)
    for one, other in zip(by_samples, by_dims.solution(1.0), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_logistic_regression_reaches_the_optimum() -> None:
    x, labels, weights = problem(80, 6, 3)
    rows = lambda: iter(x.split(17))  # noqa: E731
    geometry = Ridge(rows, OneHot(labels, 3), weights)
    weight, bias = Logistic(rows, labels, 3, weights, geometry).fit_head(0.01)
    w, b = weight.double().requires_grad_(), bias.double().requires_grad_()
    loss = nn.functional.cross_entropy(x.double() @ w.T + b, labels, reduction="none")
    objective = loss @ weights / weights.sum()
    objective = objective + 0.005 * geometry.mean_square * w.square().sum()
    objective.backward()
    assert float(b.grad.norm()) < 1e-3 and float(w.grad.norm()) < 2e-3


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_a_fitted_head_is_accurate_and_calibrated(kind: str) -> None:
    x, labels, _ = problem(400, 10, 3)
    fit = fitting.fit_head(lambda: iter(x.split(64)), labels, THREE, kind=kind)
    layer = nn.Linear(10, 3)
    fitting.install(layer, fit)
    training = float((layer(x).argmax(1) == labels).float().mean())
    held_out = float((fit.held_out_logits.argmax(1) == labels).float().mean())
    assert 0.6 < held_out <= training
    confidence = fit.held_out_logits.softmax(1).max(1).values.mean()
    assert abs(float(confidence) - held_out) < 0.08


def test_few_separable_samples_do_not_give_full_confidence() -> None:
    """Four right predictions of four are smoothed by a sixth over two classes, at any margin."""
    labels, weights = torch.tensor([0, 1, 0, 1]), torch.ones(4, dtype=torch.float64)
    wide = 8.0 * nn.functional.one_hot(labels, 2).double()
    scale, losses = calibration.best_scale(wide, labels, weights)
    confidence = (scale * wide).softmax(1).max(1).values
    torch.testing.assert_close(confidence, torch.full((4,), 1 - 1 / 12, dtype=torch.float64))
    uneven = wide * torch.tensor([1.0, 1.0, 0.2, 0.1]).double()[:, None]
    assert calibration.best_scale(uneven, labels, weights)[1].mean() > losses.mean() > 0
    again, same = calibration.best_scale(100 * wide, labels, weights)
    torch.testing.assert_close(same, losses)
    assert again == pytest.approx(scale / 100)


def test_class_weights_raise_predictions_of_the_rare_class() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = (torch.arange(300) % 10 == 0).long()
    x = torch.randn(300, 4, generator=rng) + labels[:, None] * 0.7
    plain = fitting.fit_head(lambda: iter([x]), labels, TWO)
    even = fitting.fit_head(
        lambda: iter([x]), labels, TWO, weights=torch.tensor([1.0, 9.0])[labels]
    )
    counts = [int((fit.held_out_logits.argmax(1) == 1).sum()) for fit in (plain, even)]
    assert counts[1] > 2 * counts[0]


def test_rows_of_known_classes_are_copied_bit_for_bit() -> None:
    source, target = nn.Linear(5, 3), nn.Linear(5, 3)
    copied = head_layer.copy_rows(
        target, ("b", "new", "a"), ("a", "b", "c"), source.weight.data, source.bias.data
    )
    assert copied == ["b", "a"]
    assert torch.equal(target.weight[0], source.weight[1])
    assert torch.equal(target.bias[2], source.bias[0])
    assert not target.weight[1].any() and target.bias[1] == 0


def test_folds_are_stratified_and_seeded() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    drawn = fitting.draw_folds(labels, 5, repeats=2, seed=3)
    assert np.array_equal(drawn, fitting.draw_folds(labels, 5, repeats=2, seed=3))
    assert not np.array_equal(drawn, fitting.draw_folds(labels, 5, repeats=2, seed=4))
    assert not np.array_equal(drawn[0], drawn[1])
    for label, count in enumerate((10, 4, 1)):
        assert (np.bincount(drawn[0][labels == label], minlength=5) == count).all()


def test_held_out_predictions_all_wrong_leave_classes_distinguishable() -> None:
    """With one sample a class, each is predicted by a head fitted on the other classes alone."""
    x = torch.eye(8, 16) + 0.1 * torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    fit = fitting.fit_head(lambda: iter([x]), torch.arange(8), Classification.of(8))
    logits = x @ fit.weight.T.float() + fit.bias
    assert (logits.softmax(1).argmax(1) == torch.arange(8)).all()
    assert len(set(logits.softmax(1).max(1).values.tolist())) > 1
