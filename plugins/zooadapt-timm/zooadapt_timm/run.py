"""Running one stage of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, nn

from zooadapt.family import Activations
from zooadapt_timm.cut import Piece


class _Interpreter(fx.Interpreter):
    """Gives modules lists of their own, which some write to; a graph's are immutable."""

    def call_module(self, target: str, args: tuple, kwargs: dict) -> object:
        args = tuple(list(value) if isinstance(value, list) else value for value in args)
        return super().call_module(target, args, kwargs)


class RunPiece:
    """One stage as a function of its carry, in the mode that its modules are in.

    `pieces` are its graphs for eval and for train mode.
    """

    def __init__(
        self, net: nn.Module, pieces: tuple[Piece, Piece], modules: Sequence[nn.Module]
    ) -> None:
        self._pieces = [(piece, _Interpreter(net, graph=piece.graph)) for piece in pieces]
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
        """Run on a copy, and learn which of the given tensors the stage works on in place."""
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            copy = {name: _copy(tensor) for name, tensor in activations.items()}
            before = {name: tensor._version for name, tensor in copy.items()}
            given = self._run(copy, training)
            self._changed[training] = frozenset(
                name for name, tensor in copy.items() if tensor._version != before[name]
            )
        return given

    def _run(self, activations: Activations, training: bool) -> Activations:
        piece, interpreter = self._pieces[training]
        n = len(next(iter(activations.values())))
        values = interpreter.run(*(_unpack(name, activations) for name in piece.inputs), n)
        return {
            key: tensor
            for name, value in zip(piece.outputs, values, strict=True)
            for key, tensor in _pack(name, value, like=next(iter(activations.values())))
        }


def _copy(tensor: Tensor) -> Tensor:
    """A clone with the gaps that a slice has between its rows: kernels round by them."""
    if 0 in tensor.stride():
        return tensor.clone()
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)


def _pack(name: str, value: object, *, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A value as tensors of leading dimension N. The name says what it was: `x.0` is in a tuple,
    `x[0]` in a list, `x#` a whole number, repeated for each sample, `x*` had several rows a sample;
    nothing stands for None."""
    if isinstance(value, Tensor):
        n = len(like)
        yield (name, value) if len(value) == n else (f"{name}*", value.unflatten(0, (n, -1)))
    elif isinstance(value, int):
        yield f"{name}#", torch.full((len(like),), value, device="cpu")
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            place = f"[{k}]" if isinstance(value, list) else f".{k}"
            yield from _pack(name + place, part, like=like)
    elif value is not None:
        raise TypeError(f"a {type(value).__name__} cannot be carried from stage to stage")


def _unpack(name: str, activations: Activations) -> object:
    if name in activations:
        return activations[name]
    if f"{name}*" in activations:
        return activations[f"{name}*"].flatten(0, 1)
    if f"{name}#" in activations:
        return int(activations[f"{name}#"][0])
    for kind, place in ((tuple, "{}.{}"), (list, "{}[{}]")):
        parts = []
        while any(key.startswith(place.format(name, len(parts))) for key in activations):
            parts.append(_unpack(place.format(name, len(parts)), activations))
        if parts:
            return kind(parts)
    return None


class _Reached(Exception):
    pass


class RunToHead:
    """A whole network as one stage: runs it until it calls its head."""

    def __init__(self, net: nn.Module, head: nn.Module) -> None:
        self._net, self._head = net, head

    def __call__(self, activations: Activations) -> Activations:
        given: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given.append(inputs[0])
            raise _Reached

        with self._head.register_forward_pre_hook(stop):
            try:
                self._net(activations["x"])
            except _Reached:
                pass
        return {"features": given[0].flatten(1)}
