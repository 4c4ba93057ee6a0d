"""The refit: a model that was chosen and measured on held-out samples learns these, too."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

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
    truth: np.ndarray,
    counted: np.ndarray,
    before: np.ndarray,
    after: Callable[[], Tensor],
) -> tuple[bool, Choice]:
    """Train on over all samples; whether the policy keeps that, and its choice. The backbone is
    left as it was where it does not.

    training: one in a phase; fine_tuned: the phase that trained the model, with the epochs that it
    took; temperature: what the head's logits were divided by; truth: `(n,)` labels of the held-out
    samples; counted: `(n,)`, whether one counts; before: `(n,)` classes that the model predicted;
    after: `(n, K)` logits of the model that learned them.
    """
    phase = strategies.refit(fine_tuned)
    chosen = weight_averaging.copy(backbone.net)
    head_layer.rescale(backbone.head, temperature)
    in_time = training(phase).refit()
    head_layer.rescale(backbone.head, 1 / temperature)

    def accuracy(classes: np.ndarray) -> float:
        return float((classes == truth)[counted].mean())

    logits = after()
    finite = bool(logits.isfinite().all())
    keeps, choice = policy.keep_refit(
        phase,
        in_time=in_time,
        before=accuracy(before),
        after=accuracy(logits.argmax(1).numpy()) if finite else -math.inf,
    )
    if not keeps:
        backbone.net.load_state_dict(chosen)
    return keeps, choice
