"""Self-training: where it helps, where it is left alone, and that it does not flatter itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zooadapt.heads import fitting
from zooadapt.heads.pseudo_labels import Taught, teach

CLASSES, WIDE = 4, 40


def clusters(n: int, seed: int, *, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Samples of four classes that differ in two of many directions."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(CLASSES, size=n))
    rows = torch.from_numpy(rng.normal(0, spread, (n, WIDE))).float()
    rows[:, 0] += 6.0 * (labels // 2)
    rows[:, 1] += 6.0 * (labels % 2)
    return rows, labels


def taught(rows: Tensor, labels: Tensor, unlabelled: Tensor) -> Taught:
    fold = fitting.draw_folds(labels.numpy(), 5, repeats=1, seed=0)[0]
    return teach(
        lambda: iter([rows]), lambda: iter(unlabelled.split(64)), labels, CLASSES,
        weights=torch.ones(len(labels)).double(), fold=fold,
    )  # fmt: skip


def right(fit: fitting.HeadFit, rows: Tensor, labels: Tensor) -> float:
    return float(((rows @ fit.weight.T + fit.bias).argmax(1) == labels).float().mean())


def test_it_learns_from_samples_that_it_is_sure_of():
    (rows, labels), (more, _), (x, y) = clusters(64, 5), clusters(800, 2), clusters(2000, 3)
    plain = fitting.fit_head(lambda: iter([rows]), labels, CLASSES)
    found = taught(rows, labels, more)
    assert found.pays
    assert right(found.fit, x, y) > right(plain, x, y) + 0.01


def test_it_does_not_where_it_is_sure_of_nothing():
    rows, labels = clusters(80, 1)
    found = taught(rows, labels, 0.01 * torch.randn(50, WIDE, generator=torch.manual_seed(0)) + 3)
    assert not found.pays
    assert found.fact.startswith("0 of 50")


def test_what_it_says_of_a_sample_comes_from_heads_that_never_saw_its_label():
    """Unlabelled copies of the labelled samples would carry random labels back to them."""
    generator = torch.manual_seed(0)
    rows = torch.randn(400, WIDE, generator=generator)
    labels = torch.randint(CLASSES, (400,), generator=generator)
    found = taught(rows, labels, rows.clone())
    said = found.fit.held_out_logits.argmax(1)
    assert float((said == labels).float().mean()) < 1 / CLASSES + 0.1
