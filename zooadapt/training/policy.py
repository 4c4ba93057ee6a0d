"""What `--strategy auto` decides: a method for each question, each answer with its reason.

The policy reads measurements and does nothing itself. The run asks it and does what it answers; the
plan that is shown beforehand, and its estimate, come from the same object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress, dropwhile

import numpy as np
from torch import Tensor

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.heads.selection import simplest
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted
from zooadapt.tasks.validation import Validation
from zooadapt.training import strategies
from zooadapt.training.config import Request
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import (
    ALWAYS,
    AUTO,
    GAINED,
    IN_DOUBT,
    LOST,
    FitHead,
    FitPhase,
    Phase,
    Train,
    TrainPhase,
)
from zooadapt.training.transferability import COMPARED, SourceLosses

BUDGET = 600.0
"""Seconds that a run may take by default."""
PILOT = 2 / 3
"""Share of the stages that stay frozen in the pilot phase."""
LEARNABLE = 1024
"""Training samples below which a network learns no features of its own that are worth a try."""
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the fine-tuned weights among the candidates between the linear probe and the fine-tuned
model (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903)."""
SLOWER = 0.2
"""Factor on the learning rate of a phase that is repeated."""
NEARLY = 0.75
"""Share of what the source's features tell of the classes from which on features of the same
network with random weights count as nearly as good."""
CERTAIN = 2.0
"""Standard errors by which they have to be better where labels are few. One was wrong in two of 18
runs on texts with ten labels a class, by 6 and 12 points of accuracy."""
_EPOCHS = 12
_LEAST_STEPS = 100
_RATE = 1e-3
_MARGIN = 0.8
"""Share of the time that may be planned: a machine is not always as fast as it was."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Whether a run goes on with its source, and with which plan."""

    plan: Plan
    why: str
    untrained: bool = False
    """The head is fitted on the network with random weights from here on."""
    trains: bool = True
    retrains: bool = False
    """Training starts from random weights."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The model to export."""

    share: float
    """Of the fine-tuned weights; 0 is the linear probe."""
    validation: Validation
    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The decisions of a run. A strategy other than `auto` is carried out as it is: what only
    `auto` decides, this object answers with what the strategy says."""

    chooses: bool
    """Whether the strategy is `auto`, with a source to start from."""
    spares_source: bool = False
    """Whether the request keeps something of the source, so that the source may not be left."""

    @classmethod
    def of(cls, request: Request) -> Policy:
        """The policy of a request."""
        return cls(
            chooses=request.strategy == AUTO and not request.from_scratch,
            spares_source=request.tune != "all" or request.l2sp > 0,
        )

    def phases(
        self,
        backbone: StagedBackbone,
        costs: Costs,
        sizes: Sizes,
        *,
        steps: int,
        most_epochs: int,
        seconds: float,
        refits: bool,
        pilots: bool,
    ) -> tuple[tuple[Phase, ...], list[Choice]]:
        """Train at all, from which freeze point, for how long, and the last stages first?

        Training starts at the deepest freeze point that `seconds` allow enough steps for. steps:
        of a training of full length; fewer are taken where time is short. pilots: whether a pilot
        phase, at a fraction of the cost, tells first whether training pays. A phase that gains
        nothing is repeated once at a lower rate. refits: whether time is left for a refit.
        """
        if not sizes.val:
            why = "no class has a sample to spare by which epochs could be compared"
            return (FitHead(),), [Choice(what="train", value="nothing but the head", why=why)]
        wanted = min(most_epochs, max(_EPOCHS, math.ceil(steps / sizes.steps)))
        least = min(wanted, math.ceil(_LEAST_STEPS / sizes.steps))
        left = _MARGIN * (seconds - costs.passes(sizes.everything))
        pilot = round(PILOT * backbone.depth) if pilots else 0
        for freeze_at in range(backbone.depth):
            epoch = costs.epoch(freeze_at, sizes)
            spare = left - (len(WEIGHTS) * sizes.val + sizes.test) * costs.through(freeze_at)
            before = wanted * costs.epoch(pilot, sizes) if freeze_at < pilot else 0.0
            refit = strategies.REFIT_SHARE * costs.refit(freeze_at, 1, sizes) if refits else 0.0
            epochs = min(wanted, int((spare - before) / (epoch + refit))) if spare > before else 0
            if epochs < least:
                continue
            name = backbone.stages[freeze_at].name
            why = (
                f"an epoch from there takes {epoch:.1f} s of the {left:.0f} s left for training, "
                f"{counted(wanted, 'epoch')} suit this many samples"
            )
            value = f"from stage '{name}' on, {counted(epochs, 'epoch')}"
            choices = [Choice(what="train", value=value, why=why)]
            deep = Train(freeze_at=name, epochs=epochs, lr=_RATE)
            if freeze_at >= pilot:
                return (FitHead(), deep, _slower(deep)), choices
            first = backbone.stages[pilot].name
            why = f"{counted(wanted, 'epoch')} from there take {before:.1f} s"
            value = f"from stage '{first}' on"
            choices.append(Choice(what="train first, where in doubt", value=value, why=why))
            shallow = Train(freeze_at=first, epochs=wanted, lr=_RATE, when=IN_DOUBT)
            deep = replace(deep, when=GAINED)
            return (FitHead(), shallow, _slower(shallow), deep, _slower(deep)), choices
        why = (
            f"{max(left, 0):.0f} s are left after the features, too few for "
            f"{counted(least, 'epoch')}"
        )
        return (FitHead(),), [Choice(what="train", value="nothing but the head", why=why)]

    def asks_source(self, plan: Plan) -> bool:
        """Is the source to be compared with its network untrained?"""
        return self.chooses and bool(plan.trained) and not self.spares_source

    def asks_stages(self, plan: Plan) -> bool:
        """Are features of all stages to be compared with the last ones?"""
        return any(phase.when == IN_DOUBT for phase in plan.trained)

    def leave_source(self, plan: Plan, losses: SourceLosses) -> Departure:
        """Leave the source?

        A source whose features tell next to nothing of the classes is a worse start than random
        weights, or no better, as was measured on texts: then training starts from these, if all
        stages are trained and there are samples enough to learn features from. Where the features
        of the untrained network are significantly better, the head is fitted on those, whatever is
        trained.
        """
        many, fact = len(losses.source) >= LEARNABLE, losses.fact
        better, useless, error = distributed.broadcast(lambda: self._source_is_worse(losses))
        why = f"{fact}; standard error of the difference {error:.3f}"
        if better and (plan.freeze_at or not many):
            return Departure(plan=plan, why=why, untrained=True, trains=False)
        if not useless or plan.freeze_at:
            return Departure(plan=plan, why=why, untrained=better)
        deepest = min(plan.trained, key=lambda phase: phase.freeze_at)
        retrained = replace(
            plan,
            from_scratch=True,
            phases=(FitPhase(), replace(deepest, when=ALWAYS)),
            recipe=replace(plan.recipe, norm_statistics="train", stage_decay=1.0),
        )
        return Departure(plan=retrained, why=why, untrained=better, retrains=True)

    def _source_is_worse(self, losses: SourceLosses) -> tuple[bool, bool, float]:
        """Whether the untrained network is significantly better, whether the source is of no use,
        and the standard error of the difference."""
        _, gain, error = simplest([losses.source, losses.untrained])
        better = gain > CERTAIN * error
        if len(losses.source) < LEARNABLE:
            return better, better, error
        source, untrained = (
            max(0.0, losses.entropy - float(each.mean()))
            for each in (losses.source, losses.untrained)
        )
        return better, untrained >= NEARLY * source, error

    def keep_probe(self, correct: np.ndarray) -> str | None:
        """Keep the linear probe without training? The reason, if so. correct: `(n,)`, whether the
        probe is right about each held-out sample: a gain could not be seen where all are."""
        if not distributed.broadcast(lambda: bool(correct.all())):
            return None
        return f"it is right on all {len(correct)} held-out samples: training cannot gain there"

    def start(self, plan: Plan, last: Tensor, stages: Tensor) -> tuple[Plan, Choice]:
        """Train at once, or in a pilot phase first?

        At once where features of all stages tell significantly more than those of the last one:
        what the network knows and its last stage lost, training can bring back. last, stages:
        `(n,)` leave-one-out losses of heads on those features.
        """
        at_once, gain, error = distributed.broadcast(lambda: simplest([last, stages]))
        fact = (
            f"leave-one-out loss {float(stages.mean()):.3f} with features of all stages, "
            f"{float(last.mean()):.3f} with the last ones: {gain:.3f} less, "
            f"its standard error {error:.3f}"
        )
        if at_once:
            rest = dropwhile(lambda phase: phase.when != GAINED, plan.trained)
            plan = replace(plan, phases=(FitPhase(), *rest))
        value = "at once" if at_once else "in doubt, the last stages first"
        return plan, Choice(what="train", value=value, why=fact)

    def model(
        self, measure: Callable[[float], Validation], *, trained: bool, from_scratch: bool
    ) -> Candidate:
        """Which model to export: the linear probe, the fine-tuned one, or a weight average?

        measure: puts the model of a share of the fine-tuned weights in place and validates it; that
        of the answer was the last to be put in place, unless the answer is the linear probe.
        trained: whether an epoch was finished. A candidate that is right about fewer held-out
        samples than the probe is not taken, whatever its loss; none is where the probe is right
        about all.
        """
        probe, name = measure(0.0), "the linear probe"

        def keep(why: str) -> Candidate:
            return Candidate(share=0.0, validation=probe, name=name, why=why)

        if distributed.broadcast(lambda: probe.accuracy == 1.0):
            return keep(f"it is right on all {len(probe.losses)} held-out samples")
        shares = (1.0,) if from_scratch else WEIGHTS
        measured = [(share, measure(share)) for share in (shares if trained else ())]
        sound = distributed.broadcast(lambda: [one.score >= probe.score for _, one in measured])
        candidates = list(compress(measured, sound))
        losses = [probe.losses, *(one.losses for _, one in candidates)]
        best, gain, error = distributed.broadcast(lambda: simplest(losses))
        fact = f"validation loss {probe.loss:.3f} with the fitted head alone, "
        if best:
            share, validation = candidates[best - 1]
            measure(share)
            fact += f"{validation.loss:.3f} with this one: {gain:.3f} less, standard error "
            return Candidate(
                share=share,
                validation=validation,
                name=_name(share, from_scratch=from_scratch),
                why=f"{fact}{error:.3f}",
            )
        if not measured:
            return keep(f"{fact}and no epoch was finished")
        last = measured[-1][1]
        lost = last.loss > probe.loss or last.score < probe.score
        fact += f"{last.loss:.3f} after training{', which is worse' if lost else ''}; "
        if not candidates:
            return keep(f"{fact}the fitted head alone is right on the most held-out samples")
        if gain <= 0:
            return keep(f"{fact}no weight average of the two is better")
        return keep(
            f"{fact}the best candidate gains {gain:.3f}, not significant "
            f"(standard error {error:.3f})"
        )

    def keep_refit(
        self, phase: TrainPhase, *, in_time: bool, before: float, after: float
    ) -> tuple[bool, Choice]:
        """Keep the model that learned the held-out samples too? before, after: its mean error on
        them; it should not be higher once it has learned them."""
        keeps = in_time and distributed.broadcast(lambda: after <= before)
        value = f"{counted(phase.epochs, 'more epoch')} on all samples"
        if not keeps:
            cause = "it made the model worse" if in_time else "the budget was spent"
            value = f"discarded, {cause}: the model from before it is exported"
        why = f"mean error {before:.3f} on the held-out samples before it, {after:.3f} after"
        return keeps, Choice(what="refit", value=value, why=why)

    # What these answers may cost, for the estimate.

    def compared(self, plan: Plan) -> int:
        """How many models the validation part compares in the end."""
        return 1 + len(WEIGHTS) if self.chooses and plan.trained else 1

    def untrained_samples(self, plan: Plan, samples: int) -> int:
        """How many of the training samples also go through the untrained network."""
        return min(samples, COMPARED) if self.asks_source(plan) else 0

    def longest(self, plan: Plan, seconds: Sequence[float], refit: float) -> float:
        """The most seconds that training takes. seconds: of each trained phase; refit: of the
        refit. Either the pilot phase and what that earned, or that at once, and repeated."""
        deep = next((k for k, phase in enumerate(plan.trained) if phase.when == GAINED), 0)
        return max(sum(seconds[: deep + 1]), sum(seconds[deep:])) + refit

    def shortest(self, plan: Plan, seconds: Sequence[float], refit: float) -> float:
        """The least: phases stop as early as they can and no gain earns another one; `auto` may
        keep the linear probe without any training."""
        if self.chooses:
            return 0.0
        certain = zip(plan.trained, seconds, strict=True)
        return sum(s for phase, s in certain if phase.when not in (GAINED, LOST)) + refit


def _slower(phase: Train) -> Train:
    return replace(phase, lr=SLOWER * phase.lr, when=LOST)


def _name(share: float, *, from_scratch: bool) -> str:
    if from_scratch:
        return "the model trained from random weights"
    if share == 1:
        return "the fine-tuned model"
    return f"weight average, {share:.0%} the fine-tuned model and {1 - share:.0%} the linear probe"
