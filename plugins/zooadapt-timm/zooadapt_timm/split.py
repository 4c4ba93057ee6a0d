"""A timm network as a chain of stages."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, nn

from zooadapt.family import Carry, Stage
from zooadapt_timm.cut import Piece, cut
from zooadapt_timm.head import head_path
from zooadapt_timm.outline import Uncuttable, block, groups, outline


def split(net: nn.Module) -> Sequence[Stage]:
    """The stages of a network; a single one, with a note, where it cannot be cut.

    Raises: DataError for a network without a single linear head.
    """
    head = head_path(net)
    try:
        pieces = _pieces(net, head)
    except Uncuttable as reason:
        run = _ToHead(net, net.get_submodule(head))
        (owns,) = _owners(net, head, [()])
        note = f"one stage: {reason}, so nothing before its head can be frozen apart"
        return (Stage(name="backbone", run=run, owns=owns, note=note),)
    uses = [piece.uses for piece, _ in pieces]
    owns = _owners(net, head, uses)
    return [
        Stage(name=name, run=_Run(net, pair, paths), owns=paths)
        for name, pair, paths in zip(_names(net, owns, uses), pieces, owns, strict=True)
    ]


def _pieces(net: nn.Module, head: str) -> list[tuple[Piece, Piece]]:
    """Each stage as it runs in eval and in train mode."""
    group_of = groups(net)
    mode = net.training
    cuts = []
    try:
        for training in (False, True):
            net.training = training
            cuts.append(cut(outline(net, group_of, head), net, group_of, head))
    finally:
        net.training = mode
    pairs = list(zip(*cuts, strict=False))
    if len({len(c) for c in cuts}) > 1 or any(a.inputs != b.inputs for a, b in pairs):
        raise Uncuttable("it takes another path in training")
    return pairs


class _Interpreter(fx.Interpreter):
    """Gives modules lists of their own, which some write to; a graph's are immutable."""

    def call_module(self, target: str, args: tuple, kwargs: dict) -> object:
        args = tuple(list(value) if isinstance(value, list) else value for value in args)
        return super().call_module(target, args, kwargs)


class _Run:
    """One stage as a function of its carry."""

    def __init__(self, net: nn.Module, pieces: tuple[Piece, Piece], owns: tuple[str, ...]) -> None:
        self._pieces = [(piece, _Interpreter(net, graph=piece.graph)) for piece in pieces]
        found = (_get(net, path) for path in owns)
        self._modules = [module for module in found if isinstance(module, nn.Module)]
        self._changed: dict[bool, frozenset[str]] = {}

    def __call__(self, carry: Carry) -> Carry:
        training = any(module.training for module in self._modules)
        if training not in self._changed:
            return self._first(carry, training)
        changed = self._changed[training]
        return self._run({k: _copy(t) if k in changed else t for k, t in carry.items()}, training)

    def _first(self, carry: Carry, training: bool) -> Carry:
        """Run on a copy, and learn which of the given tensors the stage works on in place."""
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            copy = {name: _copy(tensor) for name, tensor in carry.items()}
            before = {name: tensor._version for name, tensor in copy.items()}
            given = self._run(copy, training)
            self._changed[training] = frozenset(
                name for name, tensor in copy.items() if tensor._version != before[name]
            )
        return given

    def _run(self, carry: Carry, training: bool) -> Carry:
        piece, interpreter = self._pieces[training]
        n = len(next(iter(carry.values())))
        values = interpreter.run(*(_unpack(name, carry) for name in piece.inputs), n)
        return {
            key: tensor
            for name, value in zip(piece.outputs, values, strict=True)
            for key, tensor in _pack(name, value, like=next(iter(carry.values())))
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
        yield f"{name}#", torch.full((len(like),), value, device=like.device)
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            place = f"[{k}]" if isinstance(value, list) else f".{k}"
            yield from _pack(name + place, part, like=like)
    elif value is not None:
        raise TypeError(f"a {type(value).__name__} cannot be carried from stage to stage")


def _unpack(name: str, carry: Carry) -> object:
    if name in carry:
        return carry[name]
    if f"{name}*" in carry:
        return carry[f"{name}*"].flatten(0, 1)
    if f"{name}#" in carry:
        return int(carry[f"{name}#"][0])
    for kind, place in ((tuple, "{}.{}"), (list, "{}[{}]")):
        parts = []
        while any(key.startswith(place.format(name, len(parts))) for key in carry):
            parts.append(_unpack(place.format(name, len(parts)), carry))
        if parts:
            return kind(parts)
    return None


class _Reached(Exception):
    pass


class _ToHead:
    """A whole network as one stage: runs it until it calls its head."""

    def __init__(self, net: nn.Module, head: nn.Module) -> None:
        self._net, self._head = net, head

    def __call__(self, carry: Carry) -> Carry:
        given: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given.append(inputs[0])
            raise _Reached

        with self._head.register_forward_pre_hook(stop):
            try:
                self._net(carry["x"])
            except _Reached:
                pass
        return {"features": given[0].flatten(1)}


def _owners(net: nn.Module, head: str, uses: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Paths that each stage owns: what it is the first to use; what none uses goes to the last.
    A module that belongs to one stage as a whole stands for all below it."""
    last = len(uses) - 1
    owner = {id(_get(net, head)): len(uses)}
    for k, paths in enumerate(uses):
        for path in paths:
            owner.setdefault(id(_get(net, path)), k)

    def visit(path: str, module: nn.Module) -> list[tuple[int, str]]:
        """(stage, path) of what is below, as one where all agree."""
        if id(module) in owner:
            return [(owner[id(module)], path)]
        dot = f"{path}." if path else ""
        own = {**module._parameters, **module._buffers}
        below = [(owner.get(id(tensor), last), dot + name) for name, tensor in own.items()
                 if tensor is not None]  # fmt: skip
        for name, child in module._modules.items():
            below += visit(dot + name, child) if child is not None else []
        stages = {stage for stage, _ in below} or {last}
        return [(stages.pop(), path)] if path and len(stages) == 1 else below

    owned: list[list[str]] = [[] for _ in range(len(uses) + 1)]
    for stage, path in visit("", net):
        owned[stage].append(path)
    return [tuple(paths) for paths in owned[:-1]]


def _names(
    net: nn.Module, owns: Sequence[Sequence[str]], uses: Sequence[Sequence[str]]
) -> list[str]:
    """`stem`, then the block that a stage begins with, or the first module, where two share it."""
    firsts = []
    for owned, used in zip(owns, uses, strict=True):
        own = [path for path in used if any(f"{path}.".startswith(f"{p}.") for p in owned)]
        firsts.append(next((path for path in own if _weighty(net, path)), (own or owned)[0]))
    blocks = [block(path) for path in firsts]
    return ["stem"] + [
        name if blocks.count(name) == 1 else path
        for name, path in zip(blocks[1:], firsts[1:], strict=True)
    ]


def _weighty(net: nn.Module, path: str) -> bool:
    found = _get(net, path)
    return isinstance(found, nn.Module) and any(True for _ in found.parameters())


def _get(net: nn.Module, path: str) -> object:
    return functools.reduce(getattr, path.split("."), net)
