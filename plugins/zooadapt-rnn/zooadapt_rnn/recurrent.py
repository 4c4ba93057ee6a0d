"""Recurrent layers over padded sequences and the pooling of their states: the part of a network
that does not depend on what the steps of a sequence are, characters, bytes or frames of sound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from zooadapt.family import Activations, Stage

_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
_LEAST_VARIANCE = 1e-8
_STACKED = re.compile(r"(\w+)\.((?:weight|bias)_[ih]h)_l(\d+)(_reverse)?")
_LAYER = re.compile(r"(\w+)\.(\d+)\.(ahead|back)\.((?:weight|bias)_[ih]h)_l0")


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer over padded sequences, in one direction or both.

    The layer runs over the padding and then masks it; the second direction runs over each sequence
    reversed by its own length. The numbers equal those of packed sequences; on a CPU, batches of
    like lengths train up to 2.5 times as fast.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.ahead = _CELLS[cell](inputs, hidden, batch_first=True)
        self.back = _CELLS[cell](inputs, hidden, batch_first=True) if bidirectional else None

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        """States `(N, T, directions * H)`, zero after each sequence's end, from `(N, T, C)`."""
        states, _ = self.ahead(x)
        within = inside(x, length)
        if self.back is not None:
            position = torch.arange(x.shape[1], device=x.device)
            mirrored = torch.where(within, length[:, None] - 1 - position, position)[..., None]
            reverse, _ = self.back(_steps(x, mirrored))
            states = torch.cat((states, _steps(reverse, mirrored)), dim=2)
        masked: Tensor = states.masked_fill(~within[..., None], 0)
        return masked


def layers(
    cell: str, inputs: int, hidden: int, *, count: int, bidirectional: bool = False
) -> nn.ModuleList:
    """`count` layers, each on the states of the one before it, the first on `inputs` numbers."""
    width = 2 * hidden if bidirectional else hidden
    sizes = [inputs] + [width] * (count - 1)
    return nn.ModuleList(
        RecurrentLayer(cell, size, hidden, bidirectional=bidirectional) for size in sizes
    )


def stages(stack: Iterable[nn.Module], *, path: str, reads: str = "states") -> list[Stage]:
    """A stage for each layer of a stack at `path` in the network. The first reads the sequences
    `reads`, `(N, T, C)`, and all read their `length`, `(N,)`."""
    return [
        Stage(
            name=f"layer{k}",
            run=_recurrence(layer, reads if k == 0 else "states"),
            owns=(f"{path}.{k}",),
        )
        for k, layer in enumerate(stack)
    ]


def unstacked(name: str, stack: str, path: str) -> str:
    """The name, in layers at `path`, of a tensor of the stacked torch RNN `stack`; other names as
    they are."""
    match = _STACKED.fullmatch(name)
    if match is None or match[1] != stack:
        return name
    _, part, layer, reverse = match.groups()
    return f"{path}.{layer}.{'back' if reverse else 'ahead'}.{part}_l0"


def stacked(name: str, path: str, stack: str) -> str:
    """The inverse of `unstacked`."""
    match = _LAYER.fullmatch(name)
    if match is None or match[1] != path:
        return name
    _, layer, direction, part = match.groups()
    return f"{stack}.{part}_l{layer}{'_reverse' if direction == 'back' else ''}"


def concatenated(states: Tensor, length: Tensor, *, bidirectional: bool = False) -> Tensor:
    """The last, mean and max state of each sequence, `(N, 3 * H)` (concat pooling, Howard & Ruder,
    ACL 2018). The last state of a reverse direction is the one at the sequence's start."""
    states = trimmed(states, length)
    last = last_states(states, length)
    if bidirectional:
        hidden = states.shape[2] // 2
        last = torch.cat((last[:, :hidden], states[:, 0, hidden:]), dim=1)
    return torch.cat((last, _mean(states, length), _maximum(states, length)), dim=1)


def statistics(states: Tensor, length: Tensor) -> Tensor:
    """The mean, standard deviation, maximum and minimum of each sequence's states, `(N, 4 * H)`
    (statistics pooling, Snyder et al., ICASSP 2018, with the extremes): what a sequence consists
    of, wherever in it."""
    states = trimmed(states, length)
    mean = _mean(states, length)
    deviations = (states - mean[:, None]).masked_fill(~inside(states, length)[..., None], 0)
    # The root of 0 has no gradient, and a sequence of one step no deviation.
    deviation = _mean(deviations.square(), length).clamp(min=_LEAST_VARIANCE).sqrt()
    highest, lowest = _maximum(states, length), -_maximum(-states, length)
    return torch.cat((mean, deviation, highest, lowest), dim=1)


def last_states(states: Tensor, length: Tensor) -> Tensor:
    """`(N, H)`: the state at the end of each sequence."""
    return _steps(states, (length - 1)[:, None, None])[:, 0]


def _steps(sequence: Tensor, index: Tensor) -> Tensor:
    """The steps `(N, S, C)` of a sequence at `index` `(N, S, 1)`."""
    return sequence.gather(1, index.expand(-1, -1, sequence.shape[2]))


def _mean(states: Tensor, length: Tensor) -> Tensor:
    return states.sum(dim=1) / length[:, None]


def _maximum(states: Tensor, length: Tensor) -> Tensor:
    outside = ~inside(states, length)[..., None]
    return states.masked_fill(outside, float("-inf")).amax(dim=1)


def trimmed(sequence: Tensor, length: Tensor) -> Tensor:
    """Without the steps after the end of all sequences: so surplus padding costs nothing and cannot
    change the rounding of a sum."""
    if torch.compiler.is_exporting():  # a length that depends on data has no shape in a graph
        return sequence
    return sequence[:, : int(length.max())]


def inside(sequence: Tensor, length: Tensor) -> Tensor:
    """`(N, T)`: true before each sequence's end."""
    return torch.arange(sequence.shape[1], device=length.device) < length[:, None]


def _recurrence(layer: nn.Module, reads: str) -> Callable[[Activations], Activations]:
    def run(activations: Activations) -> Activations:
        length = activations["length"]
        return {"states": layer(trimmed(activations[reads], length), length), "length": length}

    return run
