"""What the user asked for, and the Plan: every default resolved, every choice with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt import strategy
from zooadapt.data import Dataset, ReadOptions
from zooadapt.errors import UsageError
from zooadapt.strategy import Phase, Recipe, Solve, SolvePhase, Train, TrainPhase

if TYPE_CHECKING:
    from zooadapt.chain import Chain
    from zooadapt.model import Source
    from zooadapt.precision import Mode


@dataclass(frozen=True, kw_only=True)
class Request:
    """One `zooadapt adapt` as the user typed it; None leaves the choice to the plan."""

    source: str
    data: str
    out: Path
    strategy: str = "probe"
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    optimizer: str = "adamw"
    head: str = "ridge"
    precision: str = "auto"
    norm_statistics: str = "auto"
    augment: str = "auto"
    stage_decay: float | None = None
    label_smoothing: float | None = None
    weight_decay: float | None = None
    seed: int = 0
    val_fraction: float = 0.2
    labels_per_class: int | None = None
    checkpoint_seconds: float = 60.0
    cache_gb: float = 10.0
    views: int = 0
    input_size: int | None = None
    in_chans: int | None = None
    from_scratch: bool = False
    plan_only: bool = False
    """Decide everything and stop before any long work."""
    overwrite: bool = False
    resume: bool = False
    offline: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        at_least = {
            "epochs": 0,
            "batch_size": 1,
            "labels_per_class": 1,
            "input_size": 8,
            "in_chans": 1,
            "seed": 0,
            "views": 0,
            "cache_gb": 0,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise _bad(name, value, f"must be at least {least}")
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise _bad("lr", self.lr, "must be a positive number")
        if not 0 < self.val_fraction < 1:
            raise _bad("val_fraction", self.val_fraction, "must lie between 0 and 1")
        strategy.phases(self.strategy, from_scratch=self.from_scratch)
        if self.overwrite and self.resume:
            raise UsageError(
                "--resume and --overwrite contradict each other",
                thing="--resume",
                remedy="give one of them",
            )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One automatic choice: what, which value, and the fact it rests on."""

    what: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run does, decided before it does it; saved in `report.json`."""

    source: str
    revision: str | None
    sha256: str
    family: str
    data: str
    strategy: str
    phases: tuple[SolvePhase | TrainPhase, ...]
    head: str
    """How a head is solved: `ridge` or `logistic`."""
    recipe: Recipe
    precision: str
    channels_last: bool
    device: str
    seed: int
    depth: int
    """The number of stages."""
    num_classes: int
    train_samples: int
    val: str
    val_fraction: float
    from_scratch: bool
    choices: tuple[Choice, ...]

    @property
    def trained(self) -> tuple[TrainPhase, ...]:
        return tuple(phase for phase in self.phases if isinstance(phase, TrainPhase))

    @property
    def solves(self) -> bool:
        return any(isinstance(phase, SolvePhase) for phase in self.phases)

    @property
    def cut(self) -> int:
        """The lowest cut of the run: the stages before it stay frozen throughout."""
        return min((phase.cut for phase in self.trained), default=self.depth)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _bad(name: str, value: object, why: str) -> UsageError:
    option = "--" + name.replace("_", "-")
    return UsageError(f"{option} {value} {why}", thing=option, remedy="zooadapt adapt --help")


MIN_STEPS = 300
"""Optimiser steps below which fine-tuning a small set stops short (Zhang et al. 2021, arXiv
2006.05987: hundreds of updates even on a thousand examples)."""
MAX_EPOCHS = 60


def resolve(
    request: Request,
    *,
    source: Source,
    data: Dataset,
    chain: Chain,
    mode: Mode,
    train_samples: int,
) -> Plan:
    """Every default filled in for this data and this network, with the reason for each.

    Raises: UsageError for a strategy or stage that is not there.
    """
    choices = [Choice(what="precision", value=_mode_name(mode), why=mode.why)]
    phases = strategy.phases(request.strategy, from_scratch=request.from_scratch)
    trains = any(isinstance(phase, Train) for phase in phases)
    batch_size = request.batch_size or 32
    if request.epochs is None and trains:
        phases, choice = _enough_steps(phases, train_samples, batch_size)
        choices += choice
    elif request.epochs is not None:
        phases = _with_epochs(phases, request.epochs)
    if request.lr is not None:
        phases = tuple(replace(p, lr=request.lr) if isinstance(p, Train) else p for p in phases)
    norm, why = _norm_statistics(request)
    augment, why_augment = _augment(request, data.modality, trains)
    if trains:
        choices += [
            Choice(what="norm statistics", value=norm, why=why),
            Choice(what="augment", value=augment, why=why_augment),
        ]
    defaults = Recipe()
    recipe = Recipe(
        optimizer=request.optimizer,
        batch_size=batch_size,
        norm_statistics=norm,
        augment=augment,
        patience=max(5, *(math.ceil(p.epochs / 2) for p in phases if isinstance(p, Train)), 0),
        stage_decay=_or(request.stage_decay, 1.0 if request.from_scratch else defaults.stage_decay),
        weight_decay=_or(request.weight_decay, defaults.weight_decay),
        label_smoothing=_or(request.label_smoothing, defaults.label_smoothing),
    )
    return Plan(
        source=source.name,
        revision=source.origin.revision,
        sha256=source.sha256,
        family=source.family.name,
        data=data.name,
        strategy=request.strategy,
        phases=tuple(_resolved(phase, chain) for phase in phases),
        head=request.head,
        recipe=recipe,
        precision=mode.precision,
        channels_last=mode.channels_last,
        device=mode.device,
        seed=request.seed,
        depth=chain.depth,
        num_classes=len(data.classes),
        train_samples=train_samples,
        val="held out" if trains else "leave-one-out",
        val_fraction=request.val_fraction,
        from_scratch=request.from_scratch,
        choices=tuple(choices),
    )


def holds_out(strategy_name: str) -> bool:
    """Whether a strategy compares epochs and so needs a part of the data held out."""
    return any(isinstance(phase, Train) for phase in strategy.phases(strategy_name))


def _resolved(phase: Phase, chain: Chain) -> SolvePhase | TrainPhase:
    if isinstance(phase, Solve):
        return SolvePhase()
    cut = phase.cut if isinstance(phase.cut, str) else round(phase.cut * chain.depth)
    return TrainPhase(cut=chain.resolve(cut), epochs=phase.epochs, lr=phase.lr, warmup=phase.warmup)


def _enough_steps(
    phases: tuple[Phase, ...], samples: int, batch_size: int
) -> tuple[tuple[Phase, ...], list[Choice]]:
    per_epoch = math.ceil(samples / batch_size)
    epochs = sum(phase.epochs for phase in phases if isinstance(phase, Train))
    wanted = min(MAX_EPOCHS, math.ceil(MIN_STEPS / per_epoch))
    if wanted <= epochs:
        return phases, []
    why = f"{samples} samples make {per_epoch} steps an epoch, {MIN_STEPS} steps are wanted"
    return _with_epochs(phases, wanted), [Choice(what="epochs", value=str(wanted), why=why)]


def _with_epochs(phases: tuple[Phase, ...], epochs: int) -> tuple[Phase, ...]:
    """The same phases with this many epochs in all, shared out as before."""
    total = sum(phase.epochs for phase in phases if isinstance(phase, Train))
    done, given, shared = 0, 0, []
    for phase in phases:
        if isinstance(phase, Train):
            done += phase.epochs
            upto = round(epochs * done / total)
            phase, given = replace(phase, epochs=upto - given), upto
        shared.append(phase)
    return tuple(shared)


def _norm_statistics(request: Request) -> tuple[str, str]:
    if request.norm_statistics != "auto":
        return request.norm_statistics, "asked for"
    if request.from_scratch:
        return "train", "from scratch there are no statistics to keep"
    return "frozen", "a small target estimates them worse than the source did"


def _augment(request: Request, modality: str, trains: bool) -> tuple[str, str]:
    if request.augment != "auto":
        return request.augment, "asked for"
    if modality != "image" or not trains:
        return "none", "nothing to vary"
    return (
        "crop",
        "cropped anew in every epoch; mirroring is left to --augment flip, since "
        "letters and signs do not survive it",
    )


def _mode_name(mode: Mode) -> str:
    return mode.precision + (", channels-last" if mode.channels_last else "")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
