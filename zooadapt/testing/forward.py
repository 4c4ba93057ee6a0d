"""The chain in motion: what it computes, from what, and that nothing else gets in."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor

from zooadapt.backbone.padding import cat
from zooadapt.testing.case import Case, apart, close, same
from zooadapt.testing.clauses import clause, foundation, need, require
from zooadapt.testing.steps import network_logits


@foundation
def check_carries_are_batches(case: Case) -> None:
    """Every carry is a dict of tensors with one row per sample, finite; the last one holds
    `features`, `(N, D)`."""
    rows = len(case.samples())
    for k in range(case.backbone.depth + 1):
        where = case.backbone.stages[k - 1].name if k else "collate"
        for name, tensor in case.activations(k).items():
            batch = isinstance(tensor, Tensor) and tensor.ndim > 0 and len(tensor) == rows
            require(
                batch,
                declared=f"'{name}' after {where} has {rows} rows",
                actual=tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor),
                remedy="put the sample dimension first; leave out what is no tensor of rows",
            )
            require(
                not tensor.is_floating_point() or bool(tensor.isfinite().all()),
                declared=f"'{name}' after {where} is finite",
                actual="NaN or an infinity",
                remedy="compute it for ordinary inputs by hand",
            )
    last = case.activations(case.backbone.depth)
    require(
        "features" in last and last["features"].ndim == 2,
        declared="the last stage gives 'features', (N, D)",
        actual={name: tuple(tensor.shape) for name, tensor in last.items()},
        remedy="pool and flatten in the last stage",
    )


@clause
@torch.no_grad()
def check_the_chain_is_the_network(case: Case) -> None:
    """Composed and followed by the head, the stages compute what the network computes."""
    expected = network_logits(case.backbone.net, case.activations())
    require(
        close(case.logits, expected),
        declared="the network's own logits",
        actual=apart(case.logits, expected),
        remedy="follow the network's forward step by step: order, activations, pooling",
    )


@clause
@torch.no_grad()
def check_the_chain_is_the_network_in_training(case: Case) -> None:
    """In train mode too, dropout and running statistics included."""
    with case.workbench() as backbone:
        start = {name: tensor.clone() for name, tensor in backbone.net.state_dict().items()}
        backbone.train()
        torch.manual_seed(1)
        expected = network_logits(backbone.net, case.activations())
        moved = {name: tensor.clone() for name, tensor in backbone.net.state_dict().items()}
        backbone.net.load_state_dict(start)
        torch.manual_seed(1)
        given = backbone.logits(case.activations())
        own = backbone.net.state_dict()
        require(
            close(given, expected),
            declared="the network's own logits in train mode, for an equal seed",
            actual=apart(given, expected),
            remedy="call the network's own dropout modules, once each, in the same order",
        )
        apart_ = [name for name in moved if not close(own[name].float(), moved[name].float())]
        require(
            not apart_,
            declared="the network's own running statistics after a batch",
            actual=f"{', '.join(apart_[:3])} differ",
            remedy="run each norm layer once",
        )


@clause
@torch.no_grad()
def check_a_carry_is_all_there_is(case: Case) -> None:
    """Running to a cut and, later, on from there gives the same bits as running through, whatever
    was run in between: that is what makes a stored carry usable."""
    other = case.preprocessor.collate(case.samples(1, seed=1))
    for k in range(1, case.backbone.depth):
        case.backbone.run({name: tensor.clone() for name, tensor in other.items()})
        given = case.backbone.logits(case.activations(k), start=k)
        require(
            given.shape == case.logits.shape and torch.equal(given, case.logits),
            declared=f"the same bits from cut {k} (before {case.backbone.stages[k].name})",
            actual=apart(given, case.logits),
            remedy="pass on in the carry what later stages need, and keep nothing elsewhere",
        )


@clause
@torch.no_grad()
def check_stages_use_what_they_own(case: Case) -> None:
    """A stage calls no module and reads no tensor but its own and those of stages before it:
    stopping at a cut runs nothing later, and freezing up to a cut freezes all that was used."""
    owned: tuple[str, ...] = ()
    for k, stage in enumerate(case.backbone.stages):
        owned += stage.owns
        foreign = [path for path in _called(case, k) if not _below(path, owned)]
        require(
            not foreign,
            declared=f"stage '{stage.name}' calls {', '.join(stage.owns) or 'no module'}",
            actual=f"it calls {', '.join(path or 'the network itself' for path in foreign[:3])}",
            remedy="list the module in `owns`, or call it in the stage that owns it",
        )
    with case.workbench() as backbone:
        state = backbone.net.state_dict()
        real = {name: tensor.clone() for name, tensor in state.items()}
        owner = {name: backbone.stage_of(name) for name in state}
        floats = [name for name in state if state[name].is_floating_point()]
        for name in floats:
            state[name].fill_(float("nan"))
        for k, stage in enumerate(backbone.stages):
            mine = [name for name in floats if owner[name] == k]
            for name in mine:
                state[name].copy_(real[name])
            require(
                same(stage.run(case.activations(k)), case.activations(k + 1)),
                declared=f"stage '{stage.name}' depends on no tensor of a later stage",
                actual="its output changes with those of later stages",
                remedy="list the tensor in the `owns` of the stage that reads it",
            )


@clause
@torch.no_grad()
def check_stages_leave_their_input_alone(case: Case) -> None:
    """`run` does not change the carry it is given."""
    for k, stage in enumerate(case.backbone.stages):
        activations = case.activations(k)
        stage.run(activations)
        require(
            same(activations, case.activations(k)),
            declared=f"stage '{stage.name}' gives a new carry",
            actual="it changed the one it was given",
            remedy="build a new dict; replace in-place operations",
        )


@clause
@torch.no_grad()
def check_evaluation_is_repeatable(case: Case) -> None:
    """In eval mode equal inputs give equal bits, and no weight or buffer moves."""
    net = case.backbone.net
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    again = case.backbone.logits(case.activations())
    require(
        torch.equal(again, case.logits),
        declared="the same bits",
        actual=apart(again, case.logits),
        remedy="draw nothing at random in eval mode, keep nothing between calls",
    )
    moved = [name for name, t in net.state_dict().items() if not torch.equal(t, before[name])]
    require(
        not moved,
        declared="no buffer moves",
        actual=f"{', '.join(moved[:3])} changed",
        remedy="update buffers in train mode alone",
    )


@clause
@torch.no_grad()
def check_batching_changes_nothing(case: Case) -> None:
    """A sample gives the same alone as in any batch, up to rounding."""
    collate = case.preprocessor.collate
    alone = torch.cat([case.backbone.logits(collate([sample])) for sample in case.samples()])
    require(
        close(alone, case.logits),
        declared="the logits of the batch",
        actual=apart(alone, case.logits),
        remedy="let no sample see another: no statistics over the batch in eval mode, no padding "
        "that counts",
    )


@clause
@torch.no_grad()
def check_padding_changes_nothing(case: Case) -> None:
    """Where lengths may differ, the padding that longer samples in a batch add changes nothing, at
    any cut."""
    need(case.family.can.variable_length, "capability variable_length")
    longest = case.preprocessor.collate([_longest(case)])
    for k in range(case.backbone.depth):
        short = case.activations(k)
        long = case.backbone.run({n: t.clone() for n, t in longest.items()}, stop=k)
        padded = {name: cat([short[name], long[name]]) for name in short}
        given = case.backbone.logits(padded, start=k)[: len(case.logits)]
        require(
            close(given, case.logits),
            declared=f"the same logits from cut {k} in a batch with a longer sample",
            actual=apart(given, case.logits),
            remedy="carry lengths or a mask along, and let pooling and normalisation heed them",
        )


def _longest(case: Case) -> dict[str, Tensor]:
    """A sample that is longer than all of the case's."""
    samples = [case.preprocessor(" ".join(case.raws(12)), rng=None)]
    if case.family.modality == "image":
        samples = case.samples(12)
    return max(samples, key=lambda sample: sum(t.numel() for t in sample.values()))


def _called(case: Case, k: int) -> list[str]:
    """Paths of the modules that stage `k` calls; of several to one module, one that it owns."""
    stage, paths = case.backbone.stages[k], {}
    for path, module in case.backbone.net.named_modules(remove_duplicate=False):
        if module not in paths or _below(path, stage.owns):
            paths[module] = path
    called: list[str] = []
    with ExitStack() as hooks:
        for module in paths:
            hook = module.register_forward_pre_hook(lambda module, _: called.append(paths[module]))
            hooks.callback(hook.remove)
        stage.run(case.activations(k))
    return called


def _below(path: str, owns: tuple[str, ...]) -> bool:
    return any(path == own or path.startswith(own + ".") for own in owns)
