"""Self-training of a solved head: what it is sure of among unlabelled samples, it learns from."""

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
"""Calibrated probability from which a prediction counts as a label (FixMatch, Sohn et al. 2020,
arXiv 2001.07685, takes 0.95 of an uncalibrated one)."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A head solved on labelled samples and on its own sure predictions."""

    fit: HeadFit
    """What it says of the labelled samples, which its calibration rests on, comes from heads that
    went through the same without them, fold by fold."""
    pays: bool
    """Whether the labelled samples see a gain larger than its standard error."""
    fact: str


def teach(
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
) -> Taught:
    """Solve a head, label with it what it is sure of, solve again on both (pseudo-labels, Lee 2013;
    one round). Whether that pays is told by cross-validation of the whole procedure; where the head
    is right without them throughout, nothing could be seen to.

    rows and unlabelled: `(n, D)` and `(m, D)` in chunks; labels: `(n,)` int64; weights: `(n,)`;
    fold: `(n,)` the fold of each labelled sample; groups: `(n,)`, equal for labelled samples that
    are left out together.
    """
    folds = torch.from_numpy(fold)
    said_by = torch.zeros(2, len(labels), num_classes)
    for number in range(int(folds.max()) + 1):
        out = folds == number
        fits = _twice(rows, unlabelled, labels, num_classes, weights * ~out, groups, kind, seed)[:2]
        for said, fit in zip(said_by, fits, strict=True):
            said[out] = _logits(rows, fit)[out]
    scales, losses = zip(
        *(calibration.best_scale(said.double(), labels, weights.double()) for said in said_by),
        strict=True,
    )
    counted = [one[weights > 0] for one in losses]
    right = [int((said.argmax(1) == labels)[weights > 0].sum()) for said in said_by]
    _, gain, noise = distributed.broadcast(lambda: selection.simplest(counted))
    _, fit, chosen, of = _twice(rows, unlabelled, labels, num_classes, weights, groups, kind, seed)
    fit = replace(
        fit,
        weight=scales[1] * fit.weight,
        bias=scales[1] * fit.bias,
        held_out_logits=scales[1] * said_by[1],
        scale=scales[1] * fit.scale,
    )
    fact = (
        f"{chosen} of {of} unlabelled samples are predicted with {CONFIDENT:.0%} or more; "
        f"cross-validated loss {float(losses[0].mean()):.3f} without them, {gain:.3f} less with, "
        f"standard error {noise:.3f}; "
        f"{right[0]} of {len(counted[0])} are right without them, {right[1]} with"
    )
    pays = gain > noise and right[0] < len(counted[0]) and right[0] <= right[1]
    return Taught(fit=fit, pays=pays, fact=fact)


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
    """The head without and with unlabelled samples; of how many it was sure, and of how many."""
    mean_one = weights * (weights.count_nonzero() / weights.sum())
    first = fitting.fit_head(
        rows, labels, num_classes, kind=kind, weights=weights, groups=groups, seed=seed
    )
    sure, guessed = _logits(unlabelled, first).softmax(1).max(1)
    confident = sure >= CONFIDENT
    count = int(confident.sum())
    if not count:
        return first, first, 0, len(sure)
    both = torch.cat([labels, guessed])
    judged = torch.cat([torch.ones(len(labels)), torch.zeros(len(guessed))]).bool()

    def chunks() -> Iterator[Tensor]:
        yield from rows()
        yield from unlabelled()

    second = fitting.fit_head(
        chunks,
        both,
        num_classes,
        kind=kind,
        weights=torch.cat([mean_one, _as_much(mean_one, labels, confident, guessed)]),
        groups=_each_alone(groups, len(guessed)),
        compared=judged,
        seed=seed,
    )
    return first, second, count, len(sure)


def _each_alone(groups: np.ndarray | None, more: int) -> np.ndarray | None:
    """The groups of labelled samples, followed by a new one for each of so many more."""
    if groups is None:
        return None
    return np.concatenate([groups, groups.max() + 1 + np.arange(more)])


def _as_much(weights: Tensor, labels: Tensor, confident: Tensor, guessed: Tensor) -> Tensor:
    """`(m,)` weights of the unlabelled samples: none if the head was not sure, and no class gets
    more by them than it has already, or a head that favours a class would teach itself to."""
    labelled = torch.zeros(int(max(labels.max(), guessed.max())) + 1).to(weights)
    found = torch.zeros_like(labelled).index_add_(0, guessed, confident.to(weights))
    labelled = labelled.index_add_(0, labels, weights)
    return confident * (labelled / found.clamp_min(1)).clamp_max(1)[guessed]


def _logits(rows: Rows, fit: HeadFit) -> Tensor:
    return torch.cat([part @ fit.weight.T + fit.bias for part in rows()])
