"""A timm network as a chain of stages."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn

from zooadapt.family import Stage
from zooadapt_timm.cut import Piece, cut
from zooadapt_timm.head import head_path
from zooadapt_timm.outline import Uncuttable, block, groups, outline
from zooadapt_timm.run import RunPiece, RunToHead


def split(net: nn.Module) -> Sequence[Stage]:
    """The stages of a network; a single one, with a note, where it cannot be cut.

    Raises: DataError for a network without a single linear head.
    """
    head = head_path(net)
    try:
        pieces = _pieces(net, head)
    except Uncuttable as reason:
        run = RunToHead(net, net.get_submodule(head))
        (owns,) = _owners(net, head, [()])
        note = f"one stage: {reason}, so nothing before its head can be frozen apart"
        return (Stage(name="backbone", run=run, owns=owns, note=note),)
    uses = [piece.uses for piece, _ in pieces]
    owns = _owners(net, head, uses)
    stages = []
    for name, pair, paths in zip(_names(net, owns, uses), pieces, owns, strict=True):
        found = (_get(net, path) for path in paths)
        modules = [module for module in found if isinstance(module, nn.Module)]
        stages.append(Stage(name=name, run=RunPiece(net, pair, modules), owns=paths))
    return stages


def _pieces(net: nn.Module, head: str) -> list[tuple[Piece, Piece]]:
    """Each stage as it runs in eval and in train mode."""
    group_of = groups(net)
    modes = {module: module.training for module in net.modules()}
    cuts = []
    for training in (False, True):
        net.train(training)
        try:
            cuts.append(cut(outline(net, group_of, head), net, group_of, head))
        finally:
            for module, mode in modes.items():
                module.training = mode
    pairs = list(zip(*cuts, strict=False))
    if len({len(c) for c in cuts}) > 1 or any(a.inputs != b.inputs for a, b in pairs):
        raise Uncuttable("it takes another path in training")
    return pairs


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
