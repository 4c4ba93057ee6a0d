"""Strategies as data: what is fitted or trained, and from which freeze point."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from zooadapt.errors import UsageError
from zooadapt.runtime.wording import counted

ALWAYS, IN_DOUBT, GAINED, LOST = "always", "in doubt", "gained", "lost"
"""When a phase is trained: `IN_DOUBT`, unless features of all stages together tell classes apart
better than the last ones do, which says beforehand that training pays; `GAINED`, if the phases
before it were left out or lowered the validation loss by more than its noise; `LOST`, if they did
not, and then from where the first of them began."""


@dataclass(frozen=True, kw_only=True)
class FitHead:
    """Freeze the whole backbone and fit the head on its features: convex, exact, no epochs."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train the stages from the freeze point on, and the head, by gradient descent."""

    freeze_at: str | float
    """A stage's name, `start`, `end`, or the share of the stages that stays frozen."""
    epochs: int
    lr: float
    """Peak AdamW rate of the head; SGD takes ten times as much."""
    warmup: float = 0.1
    """Share of the phase's steps over which the rate rises, before it falls as a cosine."""
    when: str = ALWAYS


Phase = FitHead | Train


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the trained phases of a strategy are optimised; the same for every family."""

    optimizer: str = "adamw"
    batch_size: int = 32
    stage_decay: float = 0.9
    """Factor on the rate per stage towards the input."""
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip: float = 1.0
    """Largest norm of the gradient."""
    patience: int | None = None
    """Epochs without a lower validation loss before a phase stops. None waits to its end: a cosine
    brings its gains there, often after a loss that rose at first."""
    norm_statistics: str = "frozen"
    """`frozen` keeps the running statistics of the source's norm layers, `train` moves them."""
    augment: str = "none"
    tune: str = "all"
    """Which parameters of the trained stages move: `all`, `norm` (those of norm layers), `bias`, or
    `lora`: low-rank updates beside them, merged in the end. The head's always do."""
    lora_rank: int = 8
    ema: float = 0.0
    """Decay per step of the running average of the weights, which then is what is compared and
    kept; 0 keeps none."""
    soup: int = 0
    """How many epochs beside the best are tried out for a mean of their weights with its."""
    mixup: float = 0.0
    cutmix: float = 0.0
    """Parameters of the Beta distributions that batches are mixed by; 0 mixes nothing, which suits
    small sets (BiT-HyperRule, Kolesnikov et al. 2020, arXiv 1912.11370)."""
    l2sp: float = 0.0
    """Decay of the backbone towards the source's weights, in place of weight decay towards 0."""
    imbalance: str = "none"
    """`weights` weighs a sample by its class, `sampler` draws classes evenly, `logit-adjust` adds
    the log of a class's share to its logit while training (Menon et al. 2021, arXiv 2007.07314)."""
    metric: str = "accuracy"
    """What epochs are compared for: `accuracy`, or `balanced-accuracy`, where every class counts
    the same however rare."""


@dataclass(frozen=True, kw_only=True)
class FitPhase:
    """A fit of the head in a plan."""

    kind: str = "solve"


@dataclass(frozen=True, kw_only=True)
class TrainPhase:
    """A trained phase of a plan, its freeze point resolved to a number of frozen stages."""

    freeze_at: int
    epochs: int
    lr: float
    warmup: float
    when: str = ALWAYS

    def tuned(self, depth: int) -> str:
        """Which of so many stages it trains and for how long, in words."""
        stages = (
            "all stages"
            if not self.freeze_at
            else f"the last {depth - self.freeze_at} of {depth} stages"
        )
        if self.freeze_at == depth:
            stages = "the head alone"
        elif self.freeze_at == depth - 1:
            stages = "the last stage"
        return f"{stages}, {counted(self.epochs, 'epoch')}"

    kind: str = "train"


REFIT_SHARE, REFIT_RATE = 0.25, 0.2
"""A refit, which teaches the held-out samples too once all choices are made, goes on from the model
that was chosen, for this share of its phase's epochs at this share of its rate. In the mean of 19
runs, 11 of them with ten labels a class, accuracy rose from .698 to .713; a training anew on all
samples, at four times the cost, came to .712."""


def refit(phase: TrainPhase) -> TrainPhase:
    """The phase in which a model that `phase` trained learns the held-out samples too."""
    epochs = max(1, round(REFIT_SHARE * phase.epochs))
    return replace(phase, epochs=epochs, lr=REFIT_RATE * phase.lr, when=ALWAYS)


AUTO = "auto"

STRATEGIES: dict[str, tuple[Phase, ...]] = {
    AUTO: (FitHead(), Train(freeze_at="start", epochs=12, lr=1e-3)),
    "probe": (FitHead(),),
    "lp-ft": (FitHead(), Train(freeze_at="start", epochs=12, lr=1e-3)),
    "full": (Train(freeze_at="start", epochs=20, lr=1e-3),),
    "gradual": (
        FitHead(),
        Train(freeze_at=2 / 3, epochs=4, lr=1e-3),
        Train(freeze_at=1 / 3, epochs=4, lr=1e-3),
        Train(freeze_at="start", epochs=8, lr=1e-3),
    ),
}
"""`auto` trains from where measured costs and the budget allow, and keeps the linear probe where
that gained nothing; `probe` is the linear probe; `lp-ft` is Kumar et al. 2022 (arXiv 2202.10054);
`gradual` is the gradual unfreezing of Howard & Ruder 2018; `full` is plain fine-tuning, the usual
baseline."""

FROM = "from:"


def phases(name: str, *, from_scratch: bool = False) -> tuple[Phase, ...]:
    """The phases of a strategy by name; `from:STAGE` fits the head, then trains on from there.

    From scratch there are no features to fit a head on and nothing worth freezing: the same number
    of epochs, all of it trained. Raises: UsageError for an unknown name.
    """
    if name.startswith(FROM) and len(name) > len(FROM):
        chosen: tuple[Phase, ...] = (
            FitHead(),
            Train(freeze_at=name[len(FROM) :], epochs=12, lr=1e-3),
        )
    elif name in STRATEGIES:
        chosen = STRATEGIES[name]
    else:
        known = [*STRATEGIES, "from:STAGE"]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(
            f"there is no strategy '{name}'.{hint} Strategies: {', '.join(known)}", thing=name
        )
    if not from_scratch:
        return chosen
    trained = [phase for phase in chosen if isinstance(phase, Train)]
    if not trained:
        raise UsageError(
            f"strategy '{name}' trains nothing, so it cannot start from scratch",
            thing="--from-scratch",
            remedy="--strategy full --from-scratch",
        )
    epochs = sum(phase.epochs for phase in trained)
    return (replace(trained[-1], freeze_at="start", epochs=epochs),)
