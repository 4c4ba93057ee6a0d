"""Embedding, recurrent layers, concat pooling, head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zooadapt.family import Activations, Stage
from zooadapt_rnn.settings import Settings

_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer over padded sequences, in one direction or both.

    The layer runs over the padding and then masks it; the second direction runs over each sequence
    reversed by its own length. The numbers equal those of packed sequences; on a CPU, batches of
    like lengths train up to 2.5 times as fast.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.ahead = _CELLS[cell](inputs, hidden, batch_first=True)
        self.back = _CELLS[cell](inputs, hidden, batch_first=True) if bidirectional else None

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        """States `(N, T, directions * H)`, zero after each sequence's end, from `(N, T, C)`."""
        states, _ = self.ahead(x)
        inside = _inside(x, length)
        if self.back is not None:
            position = torch.arange(x.shape[1], device=x.device)
            mirrored = torch.where(inside, length[:, None] - 1 - position, position)[..., None]
            reverse, _ = self.back(x.take_along_dim(mirrored, dim=1))
            states = torch.cat((states, reverse.take_along_dim(mirrored, dim=1)), dim=2)
        masked: Tensor = states.masked_fill(~inside[..., None], 0)
        return masked


class RecurrentClassifier(nn.Module):
    """A text classifier: features are the last, mean and max state of the last layer (concat
    pooling, Howard & Ruder, ACL 2018). The last state of a reverse direction is the one at the
    sequence's start."""

    def __init__(self, settings: Settings, num_classes: int) -> None:
        super().__init__()
        self._bidirectional = settings.bidirectional
        width = settings.hidden_size * settings.directions
        inputs = [settings.embedding_dim] + [width] * (settings.num_layers - 1)
        self.embed = nn.Embedding(settings.rows, settings.embedding_dim)
        self.rnn = nn.ModuleList(
            RecurrentLayer(
                settings.cell, size, settings.hidden_size, bidirectional=settings.bidirectional
            )
            for size in inputs
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.features, num_classes)

    def forward(self, ids: Tensor, length: Tensor) -> Tensor:
        """Logits `(N, K)` of the first `length` `(N,)`, >= 1, of `ids` `(N, T)`."""
        activations: Activations = {"ids": ids, "length": length}
        for stage in self.stages():
            activations = stage.run(activations)
        logits: Tensor = self.head(activations["features"])
        return logits

    def stages(self) -> Sequence[Stage]:
        layers = [
            Stage(name=f"layer{k}", run=_recurrence(layer), owns=(f"rnn.{k}",))
            for k, layer in enumerate(self.rnn)
            if isinstance(layer, RecurrentLayer)
        ]
        return (
            Stage(name="embedding", run=self._embed, owns=("embed",)),
            *layers,
            Stage(name="pooling", run=self._pool, owns=("dropout",)),
        )

    def _embed(self, activations: Activations) -> Activations:
        length = activations["length"]
        x = self.embed(_trimmed(activations["ids"], length))
        return {"states": x.masked_fill(~_inside(x, length)[..., None], 0), "length": length}

    def _pool(self, activations: Activations) -> Activations:
        length = activations["length"]
        states = _trimmed(activations["states"], length)
        end = (length - 1)[:, None, None]
        last = states.take_along_dim(end, dim=1)[:, 0]
        if self._bidirectional:
            hidden = states.shape[2] // 2
            last = torch.cat((last[:, :hidden], states[:, 0, hidden:]), dim=1)
        mean = states.sum(dim=1) / length[:, None]
        outside = ~_inside(states, length)[..., None]
        maximum = states.masked_fill(outside, float("-inf")).amax(dim=1)
        return {"features": self.dropout(torch.cat((last, mean, maximum), dim=1))}


def _recurrence(layer: RecurrentLayer) -> Callable[[Activations], Activations]:
    def run(activations: Activations) -> Activations:
        length = activations["length"]
        return {"states": layer(_trimmed(activations["states"], length), length), "length": length}

    return run


def _trimmed(sequence: Tensor, length: Tensor) -> Tensor:
    """Without the steps after the end of all sequences: so surplus padding costs nothing and cannot
    change the rounding of a sum."""
    return sequence[:, : int(length.max())]


def _inside(sequence: Tensor, length: Tensor) -> Tensor:
    """`(N, T)`: true before each sequence's end."""
    return torch.arange(sequence.shape[1], device=length.device) < length[:, None]
