"""The outline of a timm network: a graph that calls whole blocks, and the group of each block.

A block within one group of timm's `group_matcher(coarse=True)` is one call of the graph and runs
unchanged, in train or eval mode; only modules that hold several groups are traced. So traces are
small and quick, and blocks contain no constants of a trace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from timm.models import get_notrace_functions, get_notrace_modules, group_parameters
from torch import fx, nn


class Unsplittable(Exception):
    """The reason why a network is a single stage, as a clause."""


def groups(net: nn.Module) -> dict[nn.Parameter, int]:
    """The group of each parameter: timm's own or, where timm has no coarse groups, one for each
    numbered stage and for each other module."""
    group_of: dict[str, int] = {}
    matcher = getattr(net, "group_matcher", None)  # MetaFormer and PiT have none
    with suppress(AttributeError, AssertionError, NotImplementedError):  # RDNet: none is coarse
        if matcher is not None:
            group_of = group_parameters(net, matcher(coarse=True), reverse=True)
    if len(set(group_of.values())) <= 2:
        order: dict[str, int] = {}
        names = (name for name, _ in net.named_parameters())
        group_of = {name: order.setdefault(block(name), len(order)) for name in names}
    return {parameter: group_of[name] for name, parameter in net.named_parameters()}


def block(name: str) -> str:
    """`stages.1` for `stages.1.blocks.0.conv.weight`, `head` for `head.norm.weight`."""
    parts = name.split(".")
    for k, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: k + 1])
    return parts[0]


def outline(net: nn.Module, group_of: Mapping[nn.Parameter, int], head: str) -> fx.Graph:
    """The graph of `net(x)` in the network's present mode, other arguments at their defaults.

    Raises: Unsplittable when the network's control flow depends on values that a trace lacks.
    """
    try:
        return _Tracer(_whole(net, group_of, head)).trace(net)
    except Exception:  # a network can fail in any way on a proxy, which has no sizes after a block
        pass
    try:
        return _Tracer(_single(net)).trace(net)
    except Exception as error:
        first = str(error).split(".")[0]
        raise Unsplittable(f"it cannot be traced ({first})") from error


class _Tracer(fx.Tracer):
    def __init__(self, whole: set[str]) -> None:
        super().__init__(
            autowrap_modules=(math,),
            autowrap_functions=tuple(get_notrace_functions()),  # type: ignore[no-untyped-call]
        )
        self._whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._whole

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        return root_fn, [self.root, self.create_proxy("placeholder", "x", (), {})]


def _whole(net: nn.Module, group_of: Mapping[nn.Parameter, int], head: str) -> set[str]:
    """Paths of the modules that are not traced: those within one group, and the head."""
    whole = {head}
    for path, module in net.named_modules():
        inside = {group_of[parameter] for parameter in module.parameters()}
        one = len(inside) <= 1 or not any(module.children())
        if path and one and not f"{head}.".startswith(f"{path}."):
            whole.add(path)
    return whole


def _single(net: nn.Module) -> set[str]:
    """Paths of the modules that no trace enters: those without submodules, and timm's list."""
    untraced = tuple(get_notrace_modules())  # type: ignore[no-untyped-call]  # timm's own
    return {path for path, module in net.named_modules()
            if isinstance(module, untraced) or not any(module.children())}  # fmt: skip
