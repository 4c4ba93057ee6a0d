"""A timm network split into stages."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn

from zooadapt.family import Stage
from zooadapt_timm.head import head_path
from zooadapt_timm.outline import Unsplittable, block, groups, outline
from zooadapt_timm.run import RunStage, RunToHead
from zooadapt_timm.stage_graphs import StageGraph, stage_graphs


def split(net: nn.Module) -> Sequence[Stage]:
    """The stages of a network; a single one, with a note, if it cannot be split.

    Raises: DataError for a network without a single linear head.
    """
    head = head_path(net)
    try:
        graphs = _graphs(net, head)
    except Unsplittable as reason:
        run = RunToHead(net, net.get_submodule(head))
        (paths,) = _owners(net, head, [()])
        note = f"one stage: {reason}, so its parts cannot be frozen separately"
        return (Stage(name="backbone", run=run, owns=paths, note=note),)
    uses = [graph.uses for graph, _ in graphs]
    owns = _owners(net, head, uses)
    # Others have images as `(N, C, H, W)` and tokens as `(N, T, C)`, which is the default.
    channels = -1 if getattr(net, "output_fmt", None) == "NHWC" else None
    stages = []
    for name, pair, paths in zip(_names(net, owns, uses), graphs, owns, strict=True):
        owned = (_get(net, path) for path in paths)
        modules = [module for module in owned if isinstance(module, nn.Module)]
        stages.append(
            Stage(name=name, run=RunStage(net, pair, modules), owns=paths, channels=channels)
        )
    return stages


def _graphs(net: nn.Module, head: str) -> list[tuple[StageGraph, StageGraph]]:
    """Each stage in eval and in train mode."""
    group_of = groups(net)
    modes = {module: module.training for module in net.modules()}
    by_mode = []
    for training in (False, True):
        net.train(training)
        try:
            graph = outline(net, group_of, head)
            by_mode.append(stage_graphs(graph, net, group_of, head))
        finally:
            for module, mode in modes.items():
                module.training = mode
    pairs = list(zip(*by_mode, strict=False))
    same_depth = len({len(graphs) for graphs in by_mode}) == 1
    if not same_depth or any(a.inputs != b.inputs for a, b in pairs):
        raise Unsplittable("it computes something else in training")
    return pairs


def _owners(net: nn.Module, head: str, uses: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Paths that each stage owns: those that it is the first to use. The last stage owns what none
    uses. A module that belongs to one stage as a whole covers all below it."""
    last = len(uses) - 1
    owner = {id(_get(net, head)): len(uses)}
    for k, paths in enumerate(uses):
        for path in paths:
            owner.setdefault(id(_get(net, path)), k)

    def visit(path: str, module: nn.Module) -> list[tuple[int, str]]:
        """(stage, path) of the parts of a module, or of the module if all have one stage."""
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
    """`stem`, then the first block of each stage, or its first module where two share a block."""
    firsts = []
    for owned, used in zip(owns, uses, strict=True):
        own = [path for path in used if any(f"{path}.".startswith(f"{p}.") for p in owned)]
        firsts.append(next((path for path in own if _has_parameters(net, path)), (own or owned)[0]))
    blocks = [block(path) for path in firsts]
    return ["stem"] + [
        name if blocks.count(name) == 1 else path
        for name, path in zip(blocks[1:], firsts[1:], strict=True)
    ]


def _has_parameters(net: nn.Module, path: str) -> bool:
    module = _get(net, path)
    return isinstance(module, nn.Module) and any(True for _ in module.parameters())


def _get(net: nn.Module, path: str) -> object:
    return functools.reduce(getattr, path.split("."), net)
