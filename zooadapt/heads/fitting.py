"""Heads fitted on the features of a frozen backbone, in closed form.

Fitting a head on frozen features is a convex problem: ridge regression, whose leave-one-out
predictions are exact and free, or logistic regression with cross-validation. Both choose their L2
and estimate the accuracy without a held-out part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.rows import Rows
from zooadapt.data.splits import assign_parts
from zooadapt.heads.logistic import Logistic
from zooadapt.heads.ridge import Ridge
from zooadapt.tasks.calibration import LEAST_SCALE
from zooadapt.tasks.task import Task

RIDGE_PATH = tuple(10.0**exponent for exponent in np.arange(-4.0, 2.01, 0.5))
"""Candidate L2 penalties, as multiples of the mean squared distance of a feature row from the mean
row, which is what one sample adds to the Gram matrix."""
LOGISTIC_PATH = tuple(10.0**exponent for exponent in np.arange(0.0, -6.01, -0.5))
"""The same for logistic regression, large to small: the path ends where the loss rises again."""
FOLDS = 5
_MAX_COMPARED = 8192
_MAX_LOGITS = 1 << 21
"""Bounds of what candidates are compared on: samples, and samples times classes."""


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """A fitted head and its held-out predictions."""

    weight: Tensor
    """`(K, D)`, fp32."""
    bias: Tensor
    """`(K,)`, fp32."""
    held_out_logits: Tensor
    """`(n, K)`: logits of each training sample by a head fitted without it; for R drawings of the
    folds `(R * n, K)`, one drawing after the other."""
    l2: float
    scale: float
    """The factor of calibration, which weight and bias contain already; 1 where every output has
    its own."""

    def held_out_outputs(self, n: int, task: Task) -> np.ndarray:
        """`(n, K)` held-out outputs of the n training samples, the mean over the drawings of the
        folds."""
        outputs = task.outputs_of(self.held_out_logits).reshape(-1, n, len(self.bias))
        return outputs[0] if len(outputs) == 1 else np.asarray(outputs.mean(0))


def adjusted(fit: HeadFit, logits: Tensor) -> HeadFit:
    """A fitted head with `(K,)` added to its logits."""
    added = logits.float()
    return replace(fit, bias=fit.bias + added, held_out_logits=fit.held_out_logits + added)


def install(head: nn.Module, fit: HeadFit) -> None:
    """Write a fitted head into the network's own layer."""
    parameters = dict(head.named_parameters(recurse=False))
    with torch.no_grad():
        parameters["weight"].copy_(fit.weight.view_as(parameters["weight"]))
        if "bias" in parameters:
            parameters["bias"].copy_(fit.bias)


def fit_head(
    rows: Rows,
    labels: Tensor,
    task: Task,
    *,
    kind: str = "ridge",
    weights: Tensor | None = None,
    folds: Sequence[np.ndarray] = (),
    groups: np.ndarray | None = None,
    compared: Tensor | None = None,
    seed: int = 0,
) -> HeadFit:
    """A head for frozen features, its L2 chosen on held-out predictions.

    rows: `(n, D)` in chunks. labels: as the task has them. weights: `(n,)`; a sample of weight 0 is
    not fitted, but predicted. folds: for each drawing the `(n,)` folds of the samples; without them
    `ridge` predicts by leave-one-out, which is exact and free, and `logistic` by `FOLDS` folds
    drawn by `seed`. groups: `(n,)`, equal for samples that are left out together. compared: `(n,)`
    bool, the samples that candidates are compared on, by default all. Candidates are compared by
    the task's loss, each at its best calibration, which the head then contains: for classes that is
    cross-entropy and a temperature (Guo et al. 2017).
    """
    shares = torch.ones(len(labels)) if weights is None else weights
    shares = shares.double() * (shares.count_nonzero() / shares.double().sum())
    importance = shares if compared is None else shares * compared
    if kind == "ridge":
        return _fit_ridge(rows, labels, task, shares, importance, folds, groups)
    strata = task.strata(labels.numpy())
    drawn = folds or draw_folds(strata, FOLDS, repeats=1, seed=seed, groups=groups)
    return _fit_logistic(rows, labels, task, shares, importance, drawn)


def draw_folds(
    strata: np.ndarray, count: int, *, repeats: int, seed: int, groups: np.ndarray | None = None
) -> list[np.ndarray]:
    """The `(n,)` folds of the samples, drawn `repeats` times by seed: stratified, no group in two
    folds."""
    shares = [1 / count] * count
    return [assign_parts(strata, shares, seed + 7919 * number, groups) for number in range(repeats)]


def _fit_ridge(
    rows: Rows,
    labels: Tensor,
    task: Task,
    weights: Tensor,
    importance: Tensor,
    folds: Sequence[np.ndarray],
    groups: np.ndarray | None,
) -> HeadFit:
    ridge = Ridge(rows, task.codes(labels), weights)
    together = None if groups is None else torch.from_numpy(groups)

    def held_out_by(l2s: Sequence[float], step: int) -> list[Tensor]:
        if not folds:
            return ridge.held_out(l2s, step=step, groups=together)
        drawn = [ridge.out_of_fold(l2s, torch.from_numpy(fold), step=step) for fold in folds]
        return [torch.cat(each) for each in zip(*drawn, strict=True)]

    l2s = [multiple * ridge.mean_square for multiple in RIDGE_PATH]
    times = max(1, len(folds))
    step = max(1, times * len(labels) // min(_MAX_COMPARED, 1 + _MAX_LOGITS // len(task.outputs)))
    candidates = held_out_by(l2s, step)
    truth, shares = repeated(labels[::step], times), importance[::step].repeat(times)
    scales, shifts, losses = zip(
        *(task.calibrate(logits, truth, shares) for logits in candidates), strict=True
    )
    best = min(range(len(l2s)), key=lambda k: float(losses[k].mean()))
    held_out = candidates[best] if step == 1 else held_out_by([l2s[best]], 1)[0]
    weight, bias = ridge.solution(l2s[best])
    return _calibrated(weight, bias, held_out, l2s[best], scales[best], shifts[best])


def _fit_logistic(
    rows: Rows,
    labels: Tensor,
    task: Task,
    weights: Tensor,
    importance: Tensor,
    folds: Sequence[np.ndarray],
) -> HeadFit:
    geometry = Ridge(rows, task.codes(labels), weights)
    drawn = [
        (
            torch.from_numpy(fold),
            [
                Logistic(
                    rows,
                    labels,
                    len(task.outputs),
                    weights * torch.from_numpy(fold != number),
                    geometry,
                )
                for number in range(fold.max() + 1)
            ],
        )
        for fold in folds
    ]
    truth, shares = repeated(labels, len(folds)), importance.repeat(len(folds))
    best_loss = math.inf
    for candidate in LOGISTIC_PATH:
        held_out = torch.cat(
            [
                _out_of_fold(rows, fold, [part.fit_head(candidate) for part in parts])
                for fold, parts in drawn
            ]
        )
        scale, shift, losses = task.calibrate(held_out.double(), truth, shares)
        loss = float(losses.mean())
        if loss > best_loss:
            break
        best_loss, best = loss, (candidate, scale, shift, held_out)
    l2, scale, shift, held_out = best
    weight, bias = Logistic(rows, labels, len(task.outputs), weights, geometry).fit_head(l2)
    return _calibrated(weight, bias, held_out, l2, scale, shift)


def repeated(labels: Tensor, times: int) -> Tensor:
    """Labels as often as samples are predicted, one drawing after the other."""
    return labels.repeat(times, *[1] * (labels.ndim - 1))


def _calibrated(
    weight: Tensor, bias: Tensor, held_out: Tensor, l2: float, scale: Tensor, shift: Tensor
) -> HeadFit:
    """The head with its calibration; changes `held_out` in place. Where the best scale is below
    `LEAST_SCALE`, the held-out logits do not depend on the features."""
    least = scale.clamp_min(LEAST_SCALE)
    held_out *= torch.where(scale == least, scale, 0.0)
    return HeadFit(
        weight=(least.view(-1, 1) * weight).float(),
        bias=(least * bias + shift).float(),
        held_out_logits=(held_out + shift).float(),
        l2=l2,
        scale=float(least) if least.ndim == 0 else 1.0,
    )


def _out_of_fold(rows: Rows, fold: Tensor, heads: list[tuple[Tensor, Tensor]]) -> Tensor:
    """`(n, K)` logits of each sample by the head of its own fold."""
    out, start = [], 0
    for part in rows():
        folds = fold[start : start + len(part)]
        start += len(part)
        logits = part.new_empty(len(part), len(heads[0][1]))
        for number, (weight, bias) in enumerate(heads):
            logits[folds == number] = part[folds == number] @ weight.T + bias
        out.append(logits)
    return torch.cat(out)
