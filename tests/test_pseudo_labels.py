"""Pseudo-labels: where they pay, where they do not, and that their estimate is unbiased."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zooadapt.heads import fitting
from zooadapt.heads.pseudo_labels import SelfTraining, fit_pseudo_labels

CLASSES, WIDE = 4, 40


def clusters(n: int, seed: int, *, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Samples of four classes that differ in two of many directions."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(CLASSES, size=n))
    rows = torch.from_numpy(rng.normal(0, spread, (n, WIDE))).float()
    rows[:, 0] += 6.0 * (labels // 2)
    rows[:, 1] += 6.0 * (labels % 2)
    return rows, labels


def self_train(rows: Tensor, labels: Tensor, unlabelled: Tensor) -> SelfTraining:
    fold = fitting.draw_folds(labels.numpy(), 5, repeats=1, seed=0)[0]
    return fit_pseudo_labels(
        lambda: iter([rows]), lambda: iter(unlabelled.split(64)), labels, CLASSES,
        weights=torch.ones(len(labels)).double(), fold=fold,
    )  # fmt: skip


def accuracy(fit: fitting.HeadFit, rows: Tensor, labels: Tensor) -> float:
    return float(((rows @ fit.weight.T + fit.bias).argmax(1) == labels).float().mean())


def test_confident_pseudo_labels_raise_accuracy():
    (rows, labels), (more, _), (x, y) = clusters(64, 5), clusters(800, 2), clusters(2000, 3)
    plain = fitting.fit_head(lambda: iter([rows]), labels, CLASSES)
    result = self_train(rows, labels, more)
    assert result.pays
    assert accuracy(result.fit, x, y) > accuracy(plain, x, y) + 0.01


def test_without_confident_predictions_there_are_no_pseudo_labels():
    rows, labels = clusters(80, 1)
    noise = 0.01 * torch.randn(50, WIDE, generator=torch.manual_seed(0)) + 3
    result = self_train(rows, labels, noise)
    assert not result.pays
    assert result.fact.startswith("0 of 50")


def test_held_out_predictions_never_use_a_samples_label():
    """Pseudo-labels of copies of the labelled samples would return their random labels."""
    generator = torch.manual_seed(0)
    rows = torch.randn(400, WIDE, generator=generator)
    labels = torch.randint(CLASSES, (400,), generator=generator)
    result = self_train(rows, labels, rows.clone())
    predicted = result.fit.held_out_logits.argmax(1)
    assert float((predicted == labels).float().mean()) < 1 / CLASSES + 0.1
