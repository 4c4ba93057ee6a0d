"""A timm network as a chain of stages."""

from __future__ import annotations

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
        for name, pair, paths in zip(_names(net, uses), pieces, owns, strict=True)
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


class _Run:
    """One stage as a function of its carry."""

    def __init__(self, net: nn.Module, pieces: tuple[Piece, Piece], owns: tuple[str, ...]) -> None:
        self._pieces = [(piece, fx.Interpreter(net, graph=piece.graph)) for piece in pieces]
        self._modules = [found for path in owns if (found := _module(net, path)) is not None]
        self._changed: dict[bool, frozenset[str]] = {}

    def __call__(self, carry: Carry) -> Carry:
        training = any(module.training for module in self._modules)
        if training not in self._changed:
            return self._first(carry, training)
        changed = self._changed[training]
        return self._run({k: t.clone() if k in changed else t for k, t in carry.items()}, training)

    def _first(self, carry: Carry, training: bool) -> Carry:
        """Run on a copy, and learn which of the given tensors the stage works on in place."""
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            copy = {name: tensor.clone() for name, tensor in carry.items()}
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


def _pack(name: str, value: object, *, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A value as tensors of leading dimension N: those of a tuple numbered, a whole number repeated
    for each sample under a name that ends in `#`."""
    if isinstance(value, (tuple, list)):
        for k, part in enumerate(value):
            yield from _pack(f"{name}.{k}", part, like=like)
    elif isinstance(value, int):
        yield f"{name}#", torch.full((len(like),), value, device=like.device)
    else:
        yield name, value


def _unpack(name: str, carry: Carry) -> object:
    if name in carry:
        return carry[name]
    if f"{name}#" in carry:
        return int(carry[f"{name}#"][0])
    count = len({key[len(name) + 1 :].split(".")[0].rstrip("#")
                 for key in carry if key.startswith(f"{name}.")})  # fmt: skip
    return tuple(_unpack(f"{name}.{k}", carry) for k in range(count))


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
    owner = {head: len(uses)}
    for k, paths in enumerate(uses):
        for path in paths:
            owner.setdefault(path, k)
    owned: list[list[str]] = [[] for _ in range(len(uses) + 1)]

    def visit(path: str) -> list[tuple[int, str]]:
        """(stage, path) of all below, as one where they agree."""
        if path in owner:
            return [(owner[path], path)]
        module = net.get_submodule(path)
        dot = f"{path}." if path else ""
        state = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        below = [(owner.get(dot + name, len(uses) - 1), dot + name) for name, _ in state]
        for name, _ in module.named_children():
            below += visit(dot + name)
        stages = {stage for stage, _ in below} or {len(uses) - 1}
        return [(stages.pop(), path)] if path and len(stages) == 1 else below

    for stage, path in visit(""):
        owned[stage].append(path)
    return [tuple(paths) for paths in owned[:-1]]


def _names(net: nn.Module, uses: Sequence[Sequence[str]]) -> list[str]:
    """`stem`, then the block that a stage begins with, or the first module, where two share it."""
    firsts = [next((path for path in paths if _weighty(net, path)), paths[0]) for paths in uses]
    blocks = [block(path) for path in firsts]
    return ["stem"] + [
        name if blocks.count(name) == 1 else path
        for name, path in zip(blocks[1:], firsts[1:], strict=True)
    ]


def _weighty(net: nn.Module, path: str) -> bool:
    module = _module(net, path)
    return module is not None and any(True for _ in module.parameters())


def _module(net: nn.Module, path: str) -> nn.Module | None:
    found = net
    for name in path.split("."):
        found = getattr(found, name)
    return found if isinstance(found, nn.Module) else None
