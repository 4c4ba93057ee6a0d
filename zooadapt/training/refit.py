"""The refit: a model that was chosen and measured on held-out samples learns these, too."""

from __future__ import annotations

from collections.abc import Callable

from zooadapt.backbone import head_layer
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.runtime.choice import Choice
from zooadapt.training import strategies, weight_averaging
from zooadapt.training.loop import Training
from zooadapt.training.policy import Policy
from zooadapt.training.strategies import TrainPhase


def refit(
    backbone: StagedBackbone,
    training: Callable[[TrainPhase], Training],
    fine_tuned: TrainPhase,
    policy: Policy,
    *,
    temperature: float,
    before: float,
    after: Callable[[], float],
) -> tuple[bool, Choice]:
    """Train on over all samples; whether the policy keeps that, and its choice. The backbone is
    left as it was where it does not.

    training: one in a phase; fine_tuned: the phase that trained the model, with the epochs that it
    took; temperature: what the head's logits were divided by; before and after: the mean error of
    the model on the held-out samples, before and after it learned them.
    """
    phase = strategies.refit(fine_tuned)
    chosen = weight_averaging.copy(backbone.net)
    head_layer.rescale(backbone.head, temperature)
    in_time = training(phase).refit()
    head_layer.rescale(backbone.head, 1 / temperature)
    keeps, choice = policy.keep_refit(phase, in_time=in_time, before=before, after=after())
    if not keeps:
        backbone.net.load_state_dict(chosen)
    return keeps, choice
