"""The outline of a network split into one graph for each stage."""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from zooadapt.errors import DataError
from zooadapt_timm.head import JOINT

_ARITHMETIC = {f for f in (*vars(operator).values(), *vars(math).values()) if callable(f)}


@dataclass(frozen=True, kw_only=True)
class StageGraph:
    """One stage's graph. Its placeholders are the values named `inputs`, then the batch size; its
    output is the tuple of the values named `outputs`. `uses`: paths of its modules, those on the
    input's way first, and parameters."""

    graph: fx.Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    uses: tuple[str, ...]


def stage_graphs(
    graph: fx.Graph, net: nn.Module, group_of: Mapping[nn.Parameter, int], head: str
) -> list[StageGraph]:
    """The stages' graphs, in order. A stage begins with each call into a higher group than all
    earlier ones; a last stage of norms alone joins the one before it.

    Raises: DataError when the output is not the head's.
    """
    features = _features(graph, net, head)
    recomputed = _recomputed(graph)
    stage_of = _stages(graph, net, group_of, features, recomputed)
    depth = 1 + stage_of[features]
    needed: list[list[fx.Node]] = [[features]]
    for k in reversed(range(depth)):
        used = set(needed[0])
        for node, stage in stage_of.items():
            if stage == k:
                used.update(_sources(node, recomputed))
        needed.insert(0, [node for node in stage_of if node in used and stage_of[node] < k])
    names = [_names(len(nodes)) for nodes in needed[:-1]] + [("features",)]
    return [
        _stage_graph(
            [node for node in stage_of if stage_of[node] == k], recomputed,
            dict(zip(needed[k], names[k], strict=True)),
            dict(zip(needed[k + 1], names[k + 1], strict=True)),
        )
        for k in range(depth)
    ]  # fmt: skip


def _features(graph: fx.Graph, net: nn.Module, head: str) -> fx.Node:
    """The head's input, as `(N, D)`: of several positions, the one that the network selects from
    the head's output."""
    (output,) = graph.find_nodes(op="output")
    node, position = output.args[0], None
    if head == JOINT and isinstance(node, fx.Node):
        return node
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == head]
    if len(calls) != 1:
        raise _no_head(net, f"calls its head {len(calls)} times")
    (call,) = calls
    while isinstance(node, fx.Node) and node is not call:
        if _selects(node) and position is None:
            position = node.args[1]
        elif not _reshapes(node, net):
            raise _no_head(net, "computes more after its head")
        node = node.args[0]
    if node is not call:
        raise _no_head(net, "has more outputs than its head")
    features: fx.Node = call.all_input_nodes[0]
    with graph.inserting_before(call):
        if position is not None:
            return graph.call_function(operator.getitem, (features, position))
        if isinstance(net.get_submodule(head), nn.Conv2d):
            return graph.call_method("flatten", (features, 1))
    return features


def _selects(node: fx.Node) -> bool:
    index = node.args[1] if node.target is operator.getitem else ()
    return isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None)


def _reshapes(node: fx.Node, net: nn.Module) -> bool:
    if node.op == "call_module":
        return isinstance(net.get_submodule(str(node.target)), (nn.Flatten, nn.Identity))
    return node.target in ("flatten", torch.flatten)


def _no_head(net: nn.Module, why: str) -> DataError:
    name = type(net).__name__
    return DataError(
        f"'{name}' {why}, and zooadapt replaces one linear head", thing=name,
        remedy="choose another architecture: zooadapt models",
    )  # fmt: skip


def _recomputed(graph: fx.Graph) -> dict[fx.Node, bool]:
    """Nodes that every stage computes anew, so that they are no activations: those that depend on
    no value of the input, nor on its sizes other than N. True for N itself."""
    recomputed: dict[fx.Node, bool] = {}
    sizes: set[fx.Node] = set()
    shapes: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if node.op in ("placeholder", "output"):
            continue
        if all(n in recomputed and n not in sizes for n in inputs):
            recomputed[node] = False
        elif _is_shape(node):
            shapes.add(node)
            sizes.add(node)
            recomputed[node] = False
        elif _is_size(node) or (node.target is operator.getitem and inputs[0] in shapes):
            sizes.add(node)
            index = node.args[1]
            if isinstance(index, slice) and not index.start:
                shapes.add(node)
                recomputed[node] = False
            elif index == 0:
                recomputed[node] = True
        elif all(n in recomputed or n in sizes for n in inputs):
            arithmetic = node.target in _ARITHMETIC and sizes.issuperset(inputs)
            if arithmetic:
                sizes.add(node)
            if not arithmetic or any(n in recomputed for n in inputs):
                recomputed[node] = False
    return recomputed


def _is_shape(node: fx.Node) -> bool:
    if node.target is getattr:
        return bool(node.args[1] == "shape")
    return node.target == "size" and node.op == "call_method" and len(node.args) == 1


def _is_size(node: fx.Node) -> bool:
    return node.target == "size" and node.op == "call_method" and len(node.args) == 2


def _stages(
    graph: fx.Graph, net: nn.Module, group_of: Mapping[nn.Parameter, int], features: fx.Node,
    recomputed: Mapping[fx.Node, bool],
) -> dict[fx.Node, int]:  # fmt: skip
    """The stage of each node up to the features, in order; -1 for the input."""
    levels: dict[fx.Node, int] = {}
    rank: dict[int, int] = {}
    level = -1
    for node in graph.nodes:
        if node in recomputed or node.op == "placeholder":
            continue
        called = net.get_submodule(str(node.target)) if node.op == "call_module" else nn.Identity()
        level = max([level, *(group_of[p] for p in called.parameters())])
        levels[node] = level
        rank[level] = max([rank.get(level, 0), *(p.ndim for p in called.parameters())])
        if node is features:
            break
    first, *starts = sorted(rank)
    if starts and rank[first] == 0:
        starts.pop(0)
    if starts and rank[starts[-1]] <= 1:
        starts.pop()
    stage_of = dict.fromkeys(graph.find_nodes(op="placeholder"), -1)
    return stage_of | {node: bisect_right(starts, level) for node, level in levels.items()}


def _sources(node: fx.Node, recomputed: Mapping[fx.Node, bool]) -> Iterator[fx.Node]:
    """The nodes whose values this node needs, besides N."""
    for source in node.all_input_nodes:
        if source not in recomputed:
            yield source
        elif not recomputed[source]:
            yield from _sources(source, recomputed)


def _names(count: int) -> tuple[str, ...]:
    return (*(f"skip{k}" for k in range(count - 1)), "x")


def _stage_graph(
    nodes: Sequence[fx.Node], recomputed: Mapping[fx.Node, bool],
    inputs: Mapping[fx.Node, str], outputs: Mapping[fx.Node, str],
) -> StageGraph:  # fmt: skip
    graph = fx.Graph()
    copies = {node: graph.placeholder(name) for node, name in inputs.items()}
    size = graph.placeholder("n")

    def copy(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = size if recomputed.get(node) else graph.node_copy(node, copy)
        return copies[node]

    for node in nodes:
        copy(node)
    graph.output(tuple(copy(node) for node in outputs))
    calls = [str(node.target) for node in nodes if node.op == "call_module"]
    others = [str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")]
    return StageGraph(
        graph=graph, inputs=tuple(inputs.values()), outputs=tuple(outputs.values()),
        uses=tuple(dict.fromkeys(calls + others)),
    )  # fmt: skip
