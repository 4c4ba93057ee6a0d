"""Checks of the network, its stages and its head; nothing runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from zooadapt.family import Stage
from zooadapt.testing.case import CLASSES, Case
from zooadapt.testing.clauses import clause, foundation, refuse, require

SEVEN = ("third", "a", "b", "first", "c", "d", "e")


@foundation
def check_it_builds_a_network(case: Case) -> None:
    """`build` gives an `nn.Module` in eval mode, in fp32, on the CPU, whose random weights are a
    function of torch's seed."""
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(case.family.build(case.config, len(CLASSES)))
    net = nets[0]
    require(
        isinstance(net, nn.Module) and not net.training,
        declared="an nn.Module in eval mode",
        actual=f"{type(net).__name__}, training={getattr(net, 'training', None)}",
        remedy="return net.eval()",
    )
    for name, tensor in net.state_dict().items():
        plain = tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.int64)
        require(
            plain or (not tensor.is_floating_point() and tensor.device.type == "cpu"),
            declared="fp32 on the CPU",
            actual=f"{name} is {tensor.dtype} on {tensor.device}",
            remedy="build it in fp32 on the CPU: the core moves and casts it",
        )
    first, second = (net.state_dict() for net in nets)
    different = [name for name in first if not torch.equal(first[name], second[name])]
    require(
        not different,
        declared="equal weights for an equal torch seed",
        actual=f"{', '.join(different[:3])} differ",
        remedy="draw random numbers from torch's default generator alone",
    )


@foundation
def check_stages_share_out_the_state(case: Case) -> None:
    """Stages have unique names and own what exists; stages and head together own each entry of
    `state_dict()` once."""
    net = case.family.build(case.config, len(CLASSES))
    stages = tuple(case.family.stages(net))
    for stage in stages:
        require(
            isinstance(stage, Stage) and isinstance(stage.owns, tuple) and stage.name.isprintable(),
            declared="Stage(name=..., run=..., owns=(...))",
            actual=repr(stage)[:200],
            remedy="return a sequence of zooadapt.family.Stage",
        )
        missing = [path for path in stage.owns if not _exists(net, path)]
        require(
            not missing,
            declared=f"stage '{stage.name}' owns {', '.join(stage.owns)}",
            actual=f"the network has no {', '.join(missing)}",
            remedy="name submodules, parameters or buffers by their path in the network",
        )
    names = [stage.name for stage in stages]
    require(
        bool(names) and len(set(names)) == len(names) and not {"start", "end"} & set(names),
        declared="one or more stages, each with a name of its own, none 'start' or 'end'",
        actual=f"stages {', '.join(names) or 'none'}",
        remedy="rename them: users type the names, and 'start' and 'end' are the core's",
    )
    _check_owners(net, stages, case.family.head(net))


def _check_owners(net: nn.Module, stages: Sequence[Stage], head: str) -> None:
    claims = [(path, f"stage '{stage.name}'") for stage in stages for path in stage.owns]
    claims.append((head, "the head"))
    unowned: list[str] = []
    for name in net.state_dict():
        owners = sorted({owner for path, owner in claims if f"{name}.".startswith(f"{path}.")})
        require(
            len(owners) < 2,
            declared=f"'{name}' belongs to one stage or the head",
            actual=f"it belongs to {' and '.join(owners)}",
            remedy="keep it only in the `owns` of the stage that runs it",
        )
        unowned += [name] if not owners else []
    modules = dict.fromkeys(name.rpartition(".")[0] or name for name in unowned)
    require(
        not unowned,
        declared="each entry of state_dict() belongs to one stage or the head",
        actual=f"{len(unowned)} belong to none: {', '.join(unowned[:3])}",
        remedy=f"list {', '.join(list(modules)[:3])} in the `owns` of the stage that runs it",
    )


@clause
def check_its_head_is_linear(case: Case) -> None:
    """The head is an `nn.Linear(D, K)`, or a 1x1 `nn.Conv2d`, for features of width D and K
    classes: 7 as well as 1."""
    for classes in (("only",), SEVEN):
        net = case.family.build(case.config, len(classes))
        path = case.family.head(net)
        head = net.get_submodule(path)
        wide = isinstance(head, nn.Conv2d) and head.kernel_size != (1, 1)
        if wide or not isinstance(head, (nn.Linear, nn.Conv2d)):
            refuse(
                declared="nn.Linear or a 1x1 nn.Conv2d",
                actual=f"{path} is {type(head).__name__}",
                remedy="give the path of the last layer",
            )
        shape = tuple(head.weight.shape[:2])
        width = case.activations(case.backbone.depth)["features"].shape[1]
        require(
            shape == (len(classes), width),
            declared=f"weights ({len(classes)}, {width}) for {len(classes)} classes",
            actual=f"{path} has {shape}",
            remedy="build the head with num_classes outputs on the features",
        )


def _exists(net: nn.Module, path: str) -> bool:
    parent, _, leaf = path.rpartition(".")
    try:
        return hasattr(net.get_submodule(parent), leaf)
    except AttributeError:
        return False
