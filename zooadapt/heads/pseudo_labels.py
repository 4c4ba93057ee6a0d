"""Pseudo-labels: a head is fitted on its own confident predictions of unlabelled samples too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.rows import Rows
from zooadapt.heads import calibration, fitting, selection
from zooadapt.heads.fitting import HeadFit
from zooadapt.runtime import distributed

CONFIDENT = 0.9
"""Calibrated probability from which a prediction is a pseudo-label (FixMatch, Sohn et al. 2020,
arXiv 2001.07685, takes 0.95 of an uncalibrated one)."""


@dataclass(frozen=True, kw_only=True)
class SelfTraining:
    """A head fitted on labelled samples and on pseudo-labels."""

    fit: HeadFit
    """Its held-out predictions, and so its calibration, come from heads that went through the whole
    procedure without a fold."""
    pays: bool
    """Whether the cross-validated gain is larger than its standard error."""
    fact: str


def fit_pseudo_labels(
    rows: Rows,
    unlabelled: Rows,
    labels: Tensor,
    num_classes: int,
    *,
    weights: Tensor,
    fold: np.ndarray,
    groups: np.ndarray | None = None,
    kind: str = "ridge",
    seed: int = 0,
) -> SelfTraining:
    """Fit a head, take its confident predictions as pseudo-labels, fit again on both (Lee 2013; one
    round). Whether that pays is measured by cross-validation of the whole procedure; it does not
    where the first head is always right.

    rows and unlabelled: `(n, D)` and `(m, D)` in chunks; labels: `(n,)` int64; weights: `(n,)`;
    fold: `(n,)` the fold of each labelled sample; groups: `(n,)`, equal for labelled samples that
    are left out together.
    """
    folds = torch.from_numpy(fold)
    held_out_by = torch.zeros(2, len(labels), num_classes)
    for number in range(int(folds.max()) + 1):
        out = folds == number
        fits = _twice(rows, unlabelled, labels, num_classes, weights * ~out, groups, kind, seed)[:2]
        for held_out, fit in zip(held_out_by, fits, strict=True):
            held_out[out] = _logits(rows, fit)[out]
    scales, losses = zip(
        *(calibration.best_scale(each.double(), labels, weights.double()) for each in held_out_by),
        strict=True,
    )
    counted = [one[weights > 0] for one in losses]
    right = [int((each.argmax(1) == labels)[weights > 0].sum()) for each in held_out_by]
    _, gain, noise = distributed.broadcast(lambda: selection.simplest(counted))
    _, fit, chosen, of = _twice(rows, unlabelled, labels, num_classes, weights, groups, kind, seed)
    fit = replace(
        fit,
        weight=scales[1] * fit.weight,
        bias=scales[1] * fit.bias,
        held_out_logits=scales[1] * held_out_by[1],
        scale=scales[1] * fit.scale,
    )
    fact = (
        f"{chosen} of {of} unlabelled samples are predicted with {CONFIDENT:.0%} or more; "
        f"cross-validated loss {float(losses[0].mean()):.3f} without them, {gain:.3f} less with, "
        f"standard error {noise:.3f}; "
        f"{right[0]} of {len(counted[0])} are right without them, {right[1]} with"
    )
    pays = gain > noise and right[0] < len(counted[0]) and right[0] <= right[1]
    return SelfTraining(fit=fit, pays=pays, fact=fact)


def _twice(
    rows: Rows,
    unlabelled: Rows,
    labels: Tensor,
    num_classes: int,
    weights: Tensor,
    groups: np.ndarray | None,
    kind: str,
    seed: int,
) -> tuple[HeadFit, HeadFit, int, int]:
    """The head without and with pseudo-labels; the numbers of pseudo-labels and of unlabelled
    samples."""
    mean_one = weights * (weights.count_nonzero() / weights.sum())
    first = fitting.fit_head(
        rows, labels, num_classes, kind=kind, weights=weights, groups=groups, seed=seed
    )
    probability, predicted = _logits(unlabelled, first).softmax(1).max(1)
    confident = probability >= CONFIDENT
    count = int(confident.sum())
    if not count:
        return first, first, 0, len(predicted)
    both = torch.cat([labels, predicted])
    labelled = torch.cat([torch.ones(len(labels)), torch.zeros(len(predicted))]).bool()

    def chunks() -> Iterator[Tensor]:
        yield from rows()
        yield from unlabelled()

    second = fitting.fit_head(
        chunks,
        both,
        num_classes,
        kind=kind,
        weights=torch.cat([mean_one, _weights(mean_one, labels, confident, predicted)]),
        groups=_append_single(groups, len(predicted)),
        compared=labelled,
        seed=seed,
    )
    return first, second, count, len(predicted)


def _append_single(groups: np.ndarray | None, more: int) -> np.ndarray | None:
    """The groups of labelled samples, followed by a group for each of so many more."""
    if groups is None:
        return None
    return np.concatenate([groups, groups.max() + 1 + np.arange(more)])


def _weights(weights: Tensor, labels: Tensor, confident: Tensor, predicted: Tensor) -> Tensor:
    """`(m,)` weights of the unlabelled samples: zero without confidence, and for each class at most
    the weight of its labels in total, so that a bias to one class does not grow."""
    labelled = torch.zeros(int(max(labels.max(), predicted.max())) + 1).to(weights)
    counts = torch.zeros_like(labelled).index_add_(0, predicted, confident.to(weights))
    labelled = labelled.index_add_(0, labels, weights)
    return confident * (labelled / counts.clamp_min(1)).clamp_max(1)[predicted]


def _logits(rows: Rows, fit: HeadFit) -> Tensor:
    return torch.cat([part @ fit.weight.T + fit.bias for part in rows()])
