"""The plan of a request: every default filled in for this data and this network, with reasons."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zooadapt.data import Dataset, modalities
from zooadapt.errors import DataError, UsageError
from zooadapt.heads.fitting import FOLDS
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted
from zooadapt.tasks.task import Task
from zooadapt.training import strategies
from zooadapt.training.config import Request
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.plan import Plan
from zooadapt.training.policy import BUDGET, Policy
from zooadapt.training.strategies import (
    ALWAYS,
    AUTO,
    GAINED,
    LOST,
    FitHead,
    FitPhase,
    Phase,
    Recipe,
    Train,
    TrainPhase,
)

if TYPE_CHECKING:
    from zooadapt.backbone.precision import Mode
    from zooadapt.backbone.staged import StagedBackbone
    from zooadapt.zoo.sources import Source


MIN_STEPS = 300
"""Optimiser steps below which fine-tuning a small set stops short (Zhang et al. 2021, arXiv
2006.05987: hundreds of updates even on a thousand examples)."""
MAX_EPOCHS = 60
REPEATS = 3
"""Drawings of the folds: what one drawing decides by chance evens out."""


def resolve(
    request: Request,
    policy: Policy,
    *,
    source: Source,
    data: Dataset,
    backbone: StagedBackbone,
    mode: Mode,
    counts: np.ndarray,
    sizes: Sizes,
    groups: int = 0,
    costs: Costs | None = None,
    seconds: float = BUDGET,
) -> Plan:
    """Every default filled in for this data and this network, with the reason for each.

    counts: `(K,)` training samples of each class or label. groups: how many groups there are that
    must not be split, 0 where every sample stands for itself. costs and seconds (what is left of
    the budget) decide the phases of `auto`.
    Raises: UsageError for a strategy or stage that is not there, or mixing what cannot be mixed;
    DataError for too few groups.
    """
    if source.family.can.variable_length:
        # Sounds add up: a clip is mixed with what another has in the same time.
        adds_up = modalities.named(source.family.modality).has_length
        if request.cutmix or (request.mixup and not adds_up):
            raise UsageError(
                "samples of different lengths cannot be mixed",
                thing="--mixup",
                remedy="leave out --cutmix" if adds_up else "leave out --mixup and --cutmix",
            )
    _check_task(request, data.task)
    choices = [*data.choices, Choice(what="precision", value=_mode_name(mode), why=mode.why)]
    phases = strategies.phases(request.strategy, from_scratch=request.from_scratch)
    if policy.chooses and costs is not None:
        phases, chosen = policy.phases(
            backbone,
            costs,
            sizes,
            steps=MIN_STEPS,
            most_epochs=MAX_EPOCHS,
            seconds=seconds,
            refits=request.refit,
            pilots=not source.family.can.variable_length,
        )
        choices += chosen
    trains = any(isinstance(phase, Train) for phase in phases)
    if request.epochs is None and trains and request.strategy != AUTO:
        phases, choice = _enough_steps(phases, sizes)
        choices += choice
    elif request.epochs is not None:
        phases = _with_epochs(phases, request.epochs)
    if request.lr is not None:
        phases = tuple(
            replace(p, lr=request.lr) if isinstance(p, Train) else p
            for p in phases
            if getattr(p, "when", None) != LOST  # there is no other rate to try
        )
    norm, why = _norm_statistics(request)
    augment, why_augment = _augment(request, data.modality, trains)
    imbalance, why_imbalance = _imbalance(request, data.task, counts)
    choices.append(Choice(what="imbalance", value=imbalance, why=why_imbalance))
    if trains:
        choices += [
            Choice(what="norm statistics", value=norm, why=why),
            Choice(what="augment", value=augment, why=why_augment),
        ]
    folds, repeats, why_folds = _folds(request, groups)
    if why_folds:
        choices.append(Choice(what="folds", value=f"{folds}, {repeats} times", why=why_folds))
    defaults = Recipe()
    recipe = Recipe(
        optimizer=request.optimizer,
        batch_size=sizes.batch,
        norm_statistics=norm,
        augment=augment,
        patience=request.patience,
        stage_decay=_or(request.stage_decay, 1.0 if request.from_scratch else defaults.stage_decay),
        weight_decay=_or(request.weight_decay, defaults.weight_decay),
        label_smoothing=_or(request.label_smoothing, defaults.label_smoothing),
        tune=request.tune,
        lora_rank=request.lora_rank,
        ema=request.ema,
        soup=request.soup,
        mixup=request.mixup,
        cutmix=request.cutmix,
        l2sp=request.l2sp,
        imbalance=imbalance,
        metric=request.metric,
    )
    plan = Plan(
        source=source.name,
        revision=source.origin.revision,
        sha256=source.sha256,
        family=source.family.name,
        data=data.name,
        strategy=request.strategy,
        phases=tuple(_resolved(phase, backbone) for phase in phases),
        head=request.head,
        recipe=recipe,
        precision=mode.precision,
        channels_last=mode.channels_last,
        device=mode.device,
        seed=request.seed,
        depth=backbone.depth,
        task=data.task.name,
        num_classes=len(data.classes),
        train_samples=sizes.train,
        val="held out",
        val_fraction=request.val_fraction,
        refit=request.refit,
        folds=folds,
        repeats=repeats,
        grouped=groups > 0,
        suspects=request.label_issue_action,
        from_scratch=request.from_scratch,
        choices=tuple(choices),
    )
    return plan if trains else replace(plan, val=plan.fitted_val)


def _check_task(request: Request, task: Task) -> None:
    """Raises: UsageError for an option that means nothing for this task."""
    asked = {
        "--imbalance": request.imbalance not in ("auto", *task.imbalances),
        "--metric": request.metric != "accuracy" and not task.counts_classes,
        "--labels-per-class": request.labels_per_class is not None and not task.has_classes,
        "--head": request.head not in task.heads,
        "--label-smoothing": bool(request.label_smoothing) and not task.smooths,
        "--mixup": request.mixup > 0 and not task.mixes,
        "--cutmix": request.cutmix > 0 and not task.mixes,
    }
    for option in (name for name, wrong in asked.items() if wrong):
        raise UsageError(
            f"{option} as asked for has no meaning for {task.name}",
            thing=option,
            remedy=f"leave out {option}, or --task classification if the labels are classes",
        )


def holds_out(strategy_name: str) -> bool:
    """Whether a strategy compares epochs and so needs a part of the data held out."""
    return any(isinstance(phase, Train) for phase in strategies.phases(strategy_name))


def _resolved(phase: Phase, backbone: StagedBackbone) -> FitPhase | TrainPhase:
    if isinstance(phase, FitHead):
        return FitPhase()
    freeze_at = (
        phase.freeze_at
        if isinstance(phase.freeze_at, str)
        else round(phase.freeze_at * backbone.depth)
    )
    return TrainPhase(
        freeze_at=backbone.resolve(freeze_at),
        epochs=phase.epochs,
        lr=phase.lr,
        warmup=phase.warmup,
        when=phase.when,
    )


def _enough_steps(
    phases: tuple[Phase, ...], sizes: Sizes
) -> tuple[tuple[Phase, ...], list[Choice]]:
    epochs = sum(phase.epochs for phase in phases if isinstance(phase, Train))
    wanted = min(MAX_EPOCHS, math.ceil(MIN_STEPS / sizes.steps))
    if wanted <= epochs:
        return phases, []
    why = f"{sizes.train} samples make {sizes.steps} steps an epoch, {MIN_STEPS} steps are wanted"
    return _with_epochs(phases, wanted), [Choice(what="epochs", value=str(wanted), why=why)]


def _with_epochs(phases: tuple[Phase, ...], epochs: int) -> tuple[Phase, ...]:
    """The same phases with this many epochs in all, shared out as before; what is tried again where
    it lost takes as many as before. A phase for which none are left is left out; the first one that
    remains has no other to wait for."""
    total = sum(p.epochs for p in phases if isinstance(p, Train) and p.when != LOST)
    done = before = last = 0
    resized: list[Phase] = []
    for phase in phases:
        if isinstance(phase, Train) and phase.when == LOST:
            phase = replace(phase, epochs=last)
        elif isinstance(phase, Train):
            done += phase.epochs
            upto = round(epochs * done / total)
            last, before = upto - before, upto
            phase = replace(phase, epochs=last)
        resized.append(phase)
    if not epochs:
        return tuple(resized)
    fits_head = [phase for phase in resized if isinstance(phase, FitHead)]
    trained = [phase for phase in resized if isinstance(phase, Train) and phase.epochs]
    if trained and trained[0].when == GAINED:
        trained[0] = replace(trained[0], when=ALWAYS)
    return (*fits_head, *trained)


def _norm_statistics(request: Request) -> tuple[str, str]:
    if request.norm_statistics != "auto":
        return request.norm_statistics, "asked for"
    if request.from_scratch:
        return "train", "from scratch there are no statistics to keep"
    return "frozen", "a small target estimates them worse than the source did"


def _augment(request: Request, modality: str, trains: bool) -> tuple[str, str]:
    if request.augment != "auto":
        return request.augment, "asked for"
    kind = modalities.named(modality)
    if not kind.augmentations or not trains:
        return "none", "nothing to vary"
    return kind.augmentations[0], kind.why_augmented


def _folds(request: Request, groups: int) -> tuple[int, int, str]:
    wanted = request.folds or min(FOLDS, max(2, groups))
    if groups and groups < wanted:
        raise DataError(
            f"{groups} groups of training samples cannot be divided into {wanted} folds",
            thing="--group-column",
            remedy=f"--folds {groups}" if groups > 1 else "name a column of more groups",
        )
    if request.folds is not None:
        return wanted, REPEATS, "asked for"
    if request.head == "ridge":
        return 0, 0, ""
    return (wanted, REPEATS, "groups stay whole") if groups else (FOLDS, 1, "")


_UNEVEN = 1.5
"""Ratio of the largest to the smallest class from which classes count as imbalanced."""


def _imbalance(request: Request, task: Task, counts: np.ndarray) -> tuple[str, str]:
    if request.imbalance != "auto":
        return request.imbalance, "asked for"
    if not len(counts):
        return "none", f"{task.name} has no classes to even out"
    noun = task.noun[0]
    most, least = int(counts.max()), int(counts.min())
    ratio = most / max(least, 1)
    fact = f"the largest {noun} has {most} training samples, the smallest {least}"
    if most == least:
        fact = f"each {noun} has {counted(most, 'training sample')}"
    if request.metric == "accuracy":
        if not task.counts_classes:
            return "none", f"{fact}; --imbalance weights evens them out"
        return "none", f"{fact}; for --metric accuracy every sample counts the same"
    if ratio < _UNEVEN:
        return "none", fact
    return "weights", f"{fact}, and --metric {request.metric} counts classes alike"


def _mode_name(mode: Mode) -> str:
    return mode.precision + (", channels-last" if mode.channels_last else "")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
