"""Checks of forward passes: what the stages compute, and from what."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from zooadapt.backbone.padding import cat
from zooadapt.testing.case import Case, close, difference, same
from zooadapt.testing.clauses import clause, foundation, need, require
from zooadapt.testing.steps import network_logits


@foundation
def check_carries_are_batches(case: Case) -> None:
    """Activations are a dict of finite tensors with one row per sample; the last stage's hold
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
                remedy="put the sample dimension first; leave out other values",
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
    """The composed stages and the head compute what the network computes."""
    expected = network_logits(case.backbone.net, case.activations())
    require(
        close(case.logits, expected),
        declared="the network's own logits",
        actual=difference(case.logits, expected),
        remedy="follow the network's forward step by step: order, activations, pooling",
    )


@clause
@torch.no_grad()
def check_the_chain_is_the_network_in_training(case: Case) -> None:
    """The same holds in train mode, dropout and running statistics included."""
    with case.workbench() as backbone:
        start = {name: tensor.clone() for name, tensor in backbone.net.state_dict().items()}
        backbone.train()
        torch.manual_seed(1)
        expected = network_logits(backbone.net, case.activations())
        trained = {name: tensor.clone() for name, tensor in backbone.net.state_dict().items()}
        backbone.net.load_state_dict(start)
        torch.manual_seed(1)
        logits = backbone.logits(case.activations())
        state = backbone.net.state_dict()
        require(
            close(logits, expected),
            declared="the network's own logits in train mode, for an equal seed",
            actual=difference(logits, expected),
            remedy="call the network's own dropout modules, once each, in the same order",
        )
        different = [n for n in trained if not close(state[n].float(), trained[n].float())]
        require(
            not different,
            declared="the network's own running statistics after a batch",
            actual=f"{', '.join(different[:3])} differ",
            remedy="run each norm layer once",
        )


@clause
@torch.no_grad()
def check_a_carry_is_all_there_is(case: Case) -> None:
    """Running to a freeze point and later on from there gives the same bits as running through,
    whatever runs in between: so stored activations are valid."""
    other = case.preprocessor.collate(case.samples(1, seed=1))
    for k in range(1, case.backbone.depth):
        case.backbone.run({name: tensor.clone() for name, tensor in other.items()})
        logits = case.backbone.logits(case.activations(k), start=k)
        require(
            logits.shape == case.logits.shape and torch.equal(logits, case.logits),
            declared=f"the same bits from freeze point {k} (before {case.backbone.stages[k].name})",
            actual=difference(logits, case.logits),
            remedy="put what later stages need into the activations, and keep nothing elsewhere",
        )


@clause
@torch.no_grad()
def check_stages_use_what_they_own(case: Case) -> None:
    """A stage calls only modules, and reads only tensors, of its own and of stages before it:
    stopping at a freeze point runs nothing later, and freezing freezes all that was used."""
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
            own = [name for name in floats if owner[name] == k]
            for name in own:
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
    """`run` does not change its input."""
    for k, stage in enumerate(case.backbone.stages):
        activations = case.activations(k)
        stage.run(activations)
        require(
            same(activations, case.activations(k)),
            declared=f"stage '{stage.name}' gives new activations",
            actual="it changed its input",
            remedy="build a new dict; replace in-place operations",
        )


@clause
@torch.no_grad()
def check_evaluation_is_repeatable(case: Case) -> None:
    """In eval mode equal inputs give equal bits, and no weight or buffer changes."""
    net = case.backbone.net
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    again = case.backbone.logits(case.activations())
    require(
        torch.equal(again, case.logits),
        declared="the same bits",
        actual=difference(again, case.logits),
        remedy="draw nothing at random in eval mode, keep nothing between calls",
    )
    changed = [name for name, t in net.state_dict().items() if not torch.equal(t, before[name])]
    require(
        not changed,
        declared="no buffer changes",
        actual=f"{', '.join(changed[:3])} changed",
        remedy="update buffers in train mode alone",
    )


@clause
@torch.no_grad()
def check_batching_changes_nothing(case: Case) -> None:
    """A sample alone gives the same logits as in any batch, up to rounding."""
    collate = case.preprocessor.collate
    alone = torch.cat([case.backbone.logits(collate([sample])) for sample in case.samples()])
    require(
        close(alone, case.logits),
        declared="the logits of the batch",
        actual=difference(alone, case.logits),
        remedy="compute each sample by itself: no statistics over the batch in eval mode, no "
        "effect of padding",
    )


@clause
@torch.no_grad()
def check_padding_changes_nothing(case: Case) -> None:
    """Where lengths may differ, the padding that a longer sample adds to a batch changes nothing
    from any freeze point on."""
    need(case.family.can.variable_length, "capability variable_length")
    longest = case.preprocessor.collate([_longest(case)])
    for k in range(case.backbone.depth):
        short = case.activations(k)
        long = case.backbone.run({n: t.clone() for n, t in longest.items()}, stop=k)
        padded = {name: cat([short[name], long[name]]) for name in short}
        logits = case.backbone.logits(padded, start=k)[: len(case.logits)]
        require(
            close(logits, case.logits),
            declared=f"the same logits from freeze point {k} in a batch with a longer sample",
            actual=difference(logits, case.logits),
            remedy="put lengths or a mask into the activations; use them in pooling and norms",
        )


def _longest(case: Case) -> dict[str, Tensor]:
    """A sample that is longer than all samples of the case."""
    raws = case.raws(12)
    longer = case.modality.joined(raws)
    samples = case.samples(12) if longer is None else [case.preprocessor(longer, rng=None)]
    return max(samples, key=lambda sample: sum(t.numel() for t in sample.values()))


def _called(case: Case, k: int) -> list[str]:
    """Paths of the modules that stage `k` calls; of several paths to one module, one that the stage
    owns."""
    stage = case.backbone.stages[k]
    paths: dict[nn.Module, str] = {}
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
