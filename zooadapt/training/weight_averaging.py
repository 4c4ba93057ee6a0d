"""Means of states of one network: between two of them, and the greedy soup of several."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.runtime import distributed
from zooadapt.tasks.validation import Validation

State = dict[str, Tensor]
_FACTS = ("loss", "accuracy", "score", "scale")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The state of a network after some epochs, and its validation."""

    epochs: tuple[int, ...]
    """After which it was; several where it is a mean."""
    validation: Validation
    state: State


def blend(one: State, other: State, share: float) -> State:
    """The state between two of one network, `share` of the way to the other. Whole numbers, such as
    counts of batches, stay those of the first; what is equal in both, frozen tensors above all,
    stays the same to the bit."""

    def between(tensor: Tensor, end: Tensor) -> Tensor:
        # `lerp` makes 0 of -0, which weights stored in half precision hold.
        return torch.where(tensor == end, tensor, torch.lerp(tensor, end, share))

    return {
        name: between(tensor, other[name]) if tensor.is_floating_point() else tensor
        for name, tensor in one.items()
    }


class BestStates:
    """The best states of a training so far, `limit` of them at most, the best first."""

    def __init__(self, limit: int) -> None:
        self.candidates: list[Candidate] = []
        self._limit = limit

    def offer(self, epoch: int, validation: Validation, net: nn.Module) -> bool:
        """Keep the network's state if it is among the best; whether it is the best."""
        losses = [one.validation.loss for one in self.candidates]
        place = distributed.broadcast(lambda: sum(loss <= validation.loss for loss in losses))
        if place < self._limit:
            del self.candidates[self._limit - 1 :]
            new = Candidate(epochs=(epoch,), validation=validation, state=copy(net))
            self.candidates.insert(place, new)
        return place == 0

    def tensors(self) -> dict[str, Tensor]:
        """What `facts` does not hold of them, for a checkpoint."""
        tensors: State = {}
        for k, one in enumerate(self.candidates):
            tensors |= {f"{k}.state.{name}": tensor for name, tensor in one.state.items()}
            tensors[f"{k}.losses"] = one.validation.losses
        return tensors

    def facts(self) -> list[dict[str, Any]]:
        """Epochs, loss, accuracy, score and scale of each, as JSON."""
        return [
            {"epochs": one.epochs} | {name: getattr(one.validation, name) for name in _FACTS}
            for one in self.candidates
        ]

    def restore(
        self, tensors: Mapping[str, Tensor], facts: Sequence[Mapping[str, Any]], device: Any
    ) -> None:
        """Take up what `tensors` and `facts` gave."""
        for k, fact in enumerate(facts):
            begin = f"{k}.state."
            state = {
                n[len(begin) :]: t.to(device) for n, t in tensors.items() if n.startswith(begin)
            }
            facts_of = {name: fact[name] for name in _FACTS}
            validation = Validation(**facts_of, losses=tensors[f"{k}.losses"])
            self.candidates.append(
                Candidate(epochs=tuple(fact["epochs"]), validation=validation, state=state)
            )


def copy(net: nn.Module) -> State:
    """The state of a network as it is now."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def soup(
    candidates: Sequence[Candidate], measure: Callable[[State], tuple[Validation, State]]
) -> Candidate:
    """The mean of the best candidate and of each further one, in their order, that lowers its
    validation loss (the greedy soup of Wortsman et al. 2022, arXiv 2203.05482, of one run).
    measure: the validation of a mean, and the state that was measured."""
    best = candidates[0]
    for other in candidates[1:]:
        epochs = (*best.epochs, *other.epochs)
        validation, state = measure(blend(best.state, other.state, 1 / len(epochs)))
        losses = (validation.loss, best.validation.loss)
        if distributed.broadcast(partial(operator.lt, *losses)):
            best = Candidate(epochs=epochs, validation=validation, state=state)
    return best
