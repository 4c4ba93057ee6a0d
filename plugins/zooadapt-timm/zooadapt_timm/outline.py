"""The outline of a timm network: a graph that calls whole blocks, and the group of each block.

A block that lies within one group of timm's `group_matcher(coarse=True)` is one call of the graph
and runs as it always does, in whatever mode it is in; only what holds several groups together is
looked into. That keeps a trace small and quick, and keeps blocks free of what a trace bakes in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from timm.models import get_notrace_functions, get_notrace_modules, group_parameters
from torch import fx, nn


class Uncuttable(Exception):
    """Why a network is a single stage, as a clause."""


def groups(net: nn.Module) -> dict[nn.Parameter, int]:
    """The group of each parameter: timm's own, or, where timm has no coarse groups, one for each
    numbered stage and for each module beside them."""
    try:
        found = group_parameters(net, net.group_matcher(coarse=True), reverse=True)
    except (AttributeError, AssertionError, NotImplementedError):
        found = {}  # no matcher (MetaFormer, PiT), or none that is coarse (RDNet)
    if len(set(found.values())) <= 2:
        order: dict[str, int] = {}
        names = (name for name, _ in net.named_parameters())
        found = {name: order.setdefault(block(name), len(order)) for name in names}
    return {parameter: found[name] for name, parameter in net.named_parameters()}


def block(name: str) -> str:
    """`stages.1` for `stages.1.blocks.0.conv.weight`, `head` for `head.norm.weight`."""
    parts = name.split(".")
    for k, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: k + 1])
    return parts[0]


def outline(net: nn.Module, group_of: Mapping[nn.Parameter, int], head: str) -> fx.Graph:
    """The graph of `net(x)` in the network's present mode, other arguments at their defaults.

    Raises: Uncuttable when what the network does depends on values that a trace does not have.
    """
    try:
        return _Tracer(_whole(net, group_of, head)).trace(net)
    except Exception:  # a network given a stand-in for a tensor can fail in any way
        pass  # the stand-in may pass where it meets no whole blocks, which give it no sizes
    try:
        return _Tracer(_single(net)).trace(net)
    except Exception as error:
        first = str(error).split(".")[0]
        raise Uncuttable(f"it cannot be traced ({first})") from error


class _Tracer(fx.Tracer):
    def __init__(self, whole: set[str]) -> None:
        super().__init__(
            autowrap_modules=(math,), autowrap_functions=tuple(get_notrace_functions())
        )
        self._whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._whole

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        return root_fn, [self.root, self.create_proxy("placeholder", "x", (), {})]


def _whole(net: nn.Module, group_of: Mapping[nn.Parameter, int], head: str) -> set[str]:
    """Paths of the modules that are not looked into: those within one group, without the head."""
    whole = {head}
    for path, module in net.named_modules():
        inside = {group_of[parameter] for parameter in module.parameters()}
        one = len(inside) <= 1 or not any(module.children())
        if path and one and not f"{head}.".startswith(f"{path}."):
            whole.add(path)
    return whole


def _single(net: nn.Module) -> set[str]:
    """Paths of the modules that no trace looks into: those without submodules, and timm's list."""
    untraced = tuple(get_notrace_modules())
    return {path for path, module in net.named_modules()
            if isinstance(module, untraced) or not any(module.children())}  # fmt: skip
