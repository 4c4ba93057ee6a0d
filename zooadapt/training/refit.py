"""The refit: a model that was chosen and measured on held-out samples learns these, too."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from zooadapt.backbone import head_layer
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted
from zooadapt.training import strategies, weight_averaging
from zooadapt.training.loop import Training
from zooadapt.training.strategies import TrainPhase


def refit(
    backbone: StagedBackbone,
    training: Callable[[TrainPhase], Training],
    taught: TrainPhase,
    *,
    temperature: float,
    truth: np.ndarray,
    counted_on: np.ndarray,
    before: np.ndarray,
    after: Callable[[], Tensor],
) -> tuple[bool, Choice]:
    """Train on over all samples; whether the chain is left so, and that as a choice. It is left as
    it was where the time was over first, or where it would be less accurate on the held-out samples
    than before it had learned them.

    training: one in a phase; taught: the phase that trained the model, with the epochs that it
    took; temperature: what the head's logits were divided by; truth: `(n,)` labels of the held-out
    samples, counted_on: `(n,)` whether one counts, before: `(n,)`
    classes that the model gave them, after: `(n, K)` logits that it gives them then.
    """
    phase = strategies.refit(taught)
    chosen = weight_averaging.copy(backbone.net)
    head_layer.rescale(backbone.head, temperature)
    in_time = training(phase).refit()
    head_layer.rescale(backbone.head, 1 / temperature)

    def right(classes: np.ndarray) -> float:
        return float((classes == truth)[counted_on].mean())

    logits, was = after(), right(before)
    accuracy = right(logits.argmax(1).numpy()) if logits.isfinite().all() else -math.inf
    learned = in_time and distributed.broadcast(lambda: accuracy >= was)
    value = f"{counted(phase.epochs, 'more epoch')} on all samples"
    if not learned:
        backbone.net.load_state_dict(chosen)
        cause = "it made the model worse" if in_time else "the budget was spent"
        value = f"discarded, {cause}: the model from before it is exported"
    why = f"accuracy {was:.3f} on the held-out samples before it, {max(accuracy, 0):.3f} after"
    return learned, Choice(what="refit", value=value, why=why)
