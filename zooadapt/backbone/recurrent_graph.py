"""torch's recurrent layers as ONNX's own operations, while a network is exported.

torch's exporter repeats a layer for each step of its example, so that its graph reads texts of that
length alone. ONNX has an operation for the whole layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_ROWS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""torch's gates in ONNX's order."""


@contextmanager
def onnx_recurrences(net: nn.Module) -> Iterator[None]:
    """Inside the block, and while torch exports, every LSTM and GRU of the network without a
    projection is an operation of ONNX."""
    modules = (module for module in net.modules() if isinstance(module, (nn.LSTM, nn.GRU)))
    layers: list[Any] = [module for module in modules if not module.proj_size]
    for layer in layers:
        layer.forward = _forward(layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own counts again


def _forward(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def forward(x: Tensor, state: Any = None) -> Any:
        if not torch.compiler.is_exporting() or state is not None or x.ndim != 3:
            return original(x, state)
        steps = x.transpose(0, 1) if layer.batch_first else x
        ends = []
        for k in range(layer.num_layers):
            states = _operation(layer, k, steps)
            ends += [states[-1, 0], states[0, 1]] if layer.bidirectional else [states[-1, 0]]
            steps = states.permute(0, 2, 1, 3).flatten(2)
        output = steps.transpose(0, 1) if layer.batch_first else steps
        last = torch.stack(ends)
        # The operation's cells are no output: a network that reads them cannot be exported.
        return output, ((last, None) if layer.mode == "LSTM" else last)

    return forward


def _operation(layer: Any, k: int, x: Tensor) -> Tensor:
    """States `(T, directions, N, H)` of layer `k` on `(T, N, C)`."""
    directions = 2 if layer.bidirectional else 1
    ends = ("", "_reverse")[:directions]
    weights = [_stacked(layer, f"weight_{part}_l{k}", ends) for part in ("ih", "hh")]
    inputs = [x, *weights]
    if layer.bias:
        biases = [_stacked(layer, f"bias_{part}_l{k}", ends) for part in ("ih", "hh")]
        inputs.append(torch.cat(biases, 1))
    attributes: dict[str, Any] = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    if layer.mode == "GRU":
        attributes["linear_before_reset"] = 1
    shape = (x.shape[0], directions, x.shape[1], layer.hidden_size)
    return torch.onnx.ops.symbolic(layer.mode, inputs, attributes, dtype=x.dtype, shape=shape)


def _stacked(layer: Any, name: str, ends: tuple[str, ...]) -> Tensor:
    """A parameter of each direction, `(directions, gates * H, ...)`, with ONNX's order of gates."""
    parts = []
    for end in ends:
        gates = getattr(layer, name + end).chunk(len(_ROWS[layer.mode]))
        parts.append(torch.cat([gates[row] for row in _ROWS[layer.mode]]))
    return torch.stack(parts)
