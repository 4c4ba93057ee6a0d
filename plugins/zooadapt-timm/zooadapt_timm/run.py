"""Running one stage of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from zooadapt.family import Activations
from zooadapt_timm.stage_graphs import StageGraph


class _Interpreter(fx.Interpreter):
    """Gives modules lists of their own, to which some write; a graph's lists are immutable."""

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args = tuple(list(value) if isinstance(value, list) else value for value in args)
        return super().call_module(target, args, kwargs)


class RunStage:
    """One stage as a function of its activations, in the mode of its modules.

    `graphs` are its graphs for eval and for train mode.
    """

    def __init__(
        self, net: nn.Module, graphs: tuple[StageGraph, StageGraph], modules: Sequence[nn.Module]
    ) -> None:
        self._graphs = [(graph, _Interpreter(net, graph=graph.graph)) for graph in graphs]
        self._modules = modules
        self._changed: dict[bool, frozenset[str]] = {}

    def __call__(self, activations: Activations) -> Activations:
        training = any(module.training for module in self._modules)
        if training not in self._changed:
            return self._first(activations, training)
        changed = self._changed[training]
        return self._run(
            {k: _copy(t) if k in changed else t for k, t in activations.items()}, training
        )

    def _first(self, activations: Activations, training: bool) -> Activations:
        """Run on a copy, and record which tensors the stage changes in place."""
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            copy = {name: _copy(tensor) for name, tensor in activations.items()}
            before = {name: tensor._version for name, tensor in copy.items()}
            output = self._run(copy, training)
            self._changed[training] = frozenset(
                name for name, tensor in copy.items() if tensor._version != before[name]
            )
        return output

    def _run(self, activations: Activations, training: bool) -> Activations:
        graph, interpreter = self._graphs[training]
        n = next(iter(activations.values())).shape[0]  # symbolic while torch exports
        values = interpreter.run(*(_unpack(name, activations) for name in graph.inputs), n)
        return {
            key: tensor
            for name, value in zip(graph.outputs, values, strict=True)
            for key, tensor in _pack(name, value, like=next(iter(activations.values())))
        }


def _copy(tensor: Tensor) -> Tensor:
    """A clone with the strides of a slice: they affect how kernels round."""
    if 0 in tensor.stride():
        return tensor.clone()
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)


def _pack(name: str, value: object, *, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A value as tensors of leading dimension N. The name encodes its type: `x.0` is in a tuple,
    `x[0]` in a list, `x#` a whole number, repeated for each sample, `x*` had several rows a sample.
    None has no tensor."""
    if isinstance(value, Tensor):
        n = like.shape[0]
        yield (
            (name, value)
            if value.shape[0] == n
            else (f"{name}*", value.reshape(n, -1, *value.shape[1:]))
        )
    elif isinstance(value, int):
        yield f"{name}#", torch.full((like.shape[0],), value, device="cpu")
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            place = f"[{k}]" if isinstance(value, list) else f".{k}"
            yield from _pack(name + place, part, like=like)
    elif value is not None:
        raise TypeError(f"a {type(value).__name__} cannot be passed from stage to stage")


def _unpack(name: str, activations: Activations) -> object:
    if name in activations:
        return activations[name]
    if f"{name}*" in activations:
        return activations[f"{name}*"].flatten(0, 1)
    if f"{name}#" in activations:
        return int(activations[f"{name}#"][0])
    for kind, pattern in ((tuple, "{}.{}"), (list, "{}[{}]")):
        parts: list[object] = []
        while any(key.startswith(pattern.format(name, len(parts))) for key in activations):
            parts.append(_unpack(pattern.format(name, len(parts)), activations))
        if parts:
            return kind(parts)
    return None


class _HeadReached(Exception):
    pass


class RunToHead:
    """A whole network as one stage, run until it calls its head."""

    def __init__(self, net: nn.Module, head: nn.Module) -> None:
        self._net, self._head = net, head

    def __call__(self, activations: Activations) -> Activations:
        features: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            features.append(inputs[0])
            raise _HeadReached

        with self._head.register_forward_pre_hook(stop):
            try:
                self._net(activations["x"])
            except _HeadReached:
                pass
        return {"features": features[0].flatten(1)}
