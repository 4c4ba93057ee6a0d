"""Checks of training from every freeze point: frozen stages stay the same, others change."""

from __future__ import annotations

import torch

from zooadapt.testing.case import Case, same
from zooadapt.testing.clauses import clause, require


@clause
def check_the_frozen_stays(case: Case) -> None:
    """At every freeze point: after two optimiser steps the frozen stages' state, buffers included,
    is the same bit for bit."""
    for training in case.trainings:
        require(
            not training.leaked,
            declared=f"nothing before freeze point {training.freeze_at} changes",
            actual=f"{', '.join(training.leaked[:3])} changed",
            remedy="list the modules that update buffers, or a parent of them, in `owns`",
        )


@clause
def check_the_rest_is_trained(case: Case) -> None:
    """At every freeze point: after two optimiser steps each parameter that follows it, and each of
    the head, has changed if the network's own training changes it."""
    for training in case.trainings:
        require(
            not training.stuck,
            declared=f"every parameter after freeze point {training.freeze_at} is trained",
            actual=f"{', '.join(training.stuck[:3])} did not change",
            remedy="let gradients through: no detach, no no_grad",
        )


@clause
@torch.no_grad()
def check_the_frozen_runs_as_in_evaluation(case: Case) -> None:
    """A frozen stage gives the same bits in train mode as in eval mode: its dropout is off and its
    norm layers use their running statistics."""
    with case.workbench() as backbone:
        backbone.freeze(backbone.depth)
        for k, stage in enumerate(backbone.stages):
            backbone.eval()
            expected = stage.run(case.activations(k))
            backbone.train()
            require(
                same(stage.run(case.activations(k)), expected),
                declared=f"stage '{stage.name}' as in eval mode",
                actual="another output when the stage is frozen and the network is in train mode",
                remedy="list its dropout and norm modules in `owns`; call modules, which have a "
                "mode, in place of functions that read the network's",
            )
