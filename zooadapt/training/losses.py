"""What a step of training lowers: cross-entropy, weighed, smoothed or mixed as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zooadapt.errors import DataError
from zooadapt.training.strategies import Recipe


def loss_of(
    logits: Tensor,
    labels: Tensor,
    mixed: Sequence[Any] | None,
    *,
    recipe: Recipe,
    class_weights: Tensor,
) -> Tensor:
    """The loss of `(n, K)` logits against `(n,)` labels. mixed: the order and the share by which
    each sample is mixed with another."""
    weights, logits = None, logits.float()
    if recipe.imbalance == "weights":
        weights = class_weights.float().to(logits.device)
    elif recipe.imbalance == "logit-adjust":
        logits = logits - class_weights.log().float().to(logits.device)

    def against(labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(
            logits,
            labels.to(logits.device),
            weight=weights,
            label_smoothing=recipe.label_smoothing,
        )

    if mixed is None:
        return against(labels)
    order, share = mixed
    return share * against(labels) + (1 - share) * against(labels[order])


def diverged(what: str, loss: float, when: str, rate: float, peak: float) -> DataError:
    """The error for a loss that is not finite. peak: the highest rate of the phase."""
    return DataError(
        f"the {what} became {loss} {when} (rate {rate:.2g})",
        thing="loss",
        remedy=f"--lr {peak / 10:.1g}",
    )
