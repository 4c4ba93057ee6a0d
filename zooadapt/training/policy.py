"""`--strategy auto`: how deep and how long to train, from measured costs and the time there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.heads.selection import simplest
from zooadapt.heads.validation import Validation
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted
from zooadapt.training import strategies
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.strategies import GAINED, IN_DOUBT, LOST, FitHead, Phase, Train

BUDGET = 600.0
"""Seconds that a run may take if nobody says otherwise."""
PILOT = 2 / 3
"""Share of the stages that stay frozen while it is tried out, cheaply, whether training pays."""
LEARNABLE = 1024
"""With fewer training samples, a network learns no features of its own that are worth a try."""
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the trained weights among the candidates between the solved model and the trained one
(WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903)."""
_EPOCHS = 12
_LEAST_STEPS = 100
_RATE = 1e-3
SLOWER = 0.2
"""Factor on the rate of what gained nothing."""
_MARGIN = 0.8
"""Share of the time that may be planned: a machine is not always as fast as it was."""


def phases(
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
    """Solve the head, then train from the deepest cut that `seconds` allow enough steps for.

    steps: how many make a training of full length; fewer are taken where time is short, down to a
    point from which training is left out. scouts: whether the last stages are trained first, at a
    fraction of the cost, where it is in doubt that training pays. What gains nothing is tried again
    at a lower rate. refits: whether what is held out is learned in the end, which takes its time.
    Each choice comes with the measured fact it rests on.
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
        before = 0.0
        if freeze_at < pilot:
            before = wanted * costs.epoch(pilot, sizes)
        again = strategies.REFIT_SHARE * costs.refit(freeze_at, 1, sizes) if refits else 0.0
        epochs = min(wanted, int((spare - before) / (epoch + again))) if spare > before else 0
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
    why = f"{max(left, 0):.0f} s are left after the features, too few for {counted(least, 'epoch')}"
    return (FitHead(),), [Choice(what="train", value="nothing but the head", why=why)]


def _slower(phase: Train) -> Train:
    return replace(phase, lr=SLOWER * phase.lr, when=LOST)


def choose(
    measured: Callable[[float], Validation], shares: Sequence[float]
) -> tuple[float, Validation, str]:
    """The share of the trained weights to take, 0 for the solved model alone; what the validation
    part says of that model, which was the last to be measured unless it is the solved one; and the
    fact this rests on. What is right about fewer of its samples than the solved model is not taken,
    whatever its loss, and nothing is where that is right about all. measured: puts the model of a
    share in place and measures it."""
    fitted = measured(0.0)
    if distributed.broadcast(lambda: fitted.accuracy == 1.0):
        return 0.0, fitted, f"it is right on all {len(fitted.losses)} held-out samples"
    found = [(share, measured(share)) for share in shares]
    kept = distributed.broadcast(lambda: [one.score >= fitted.score for _, one in found])
    sound = list(compress(found, kept))
    losses = [fitted.losses, *(one.losses for _, one in sound)]
    best, gain, noise = distributed.broadcast(lambda: simplest(losses))
    fact = f"validation loss {fitted.loss:.3f} with the fitted head alone, "
    if best:
        share, one = sound[best - 1]
        measured(share)
        fact += f"{one.loss:.3f} with this one: {gain:.3f} less, standard error {noise:.3f}"
        return share, one, fact
    if not found:
        return 0.0, fitted, f"{fact}and no epoch was finished"
    trained = found[-1][1]
    lost = trained.loss > fitted.loss or trained.score < fitted.score
    fact += f"{trained.loss:.3f} after training{', which is worse' if lost else ''}; "
    if not sound:
        return 0.0, fitted, f"{fact}the fitted head alone is right on the most held-out samples"
    if gain <= 0:
        return 0.0, fitted, f"{fact}no weight average of the two is better"
    fact += f"the best candidate gains {gain:.3f}, not significant (standard error {noise:.3f})"
    return 0.0, fitted, fact


def described(share: float, *, from_scratch: bool) -> str:
    """The model of a share of the trained weights, in words."""
    if from_scratch:
        return "the model trained from random weights"
    if share == 1:
        return "the fine-tuned model"
    return f"weight average, {share:.0%} the fine-tuned model and {1 - share:.0%} the linear probe"
