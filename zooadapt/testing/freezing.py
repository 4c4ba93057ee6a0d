"""Training from every cut: what is frozen stays, all else moves."""

from __future__ import annotations

import torch

from zooadapt.testing.case import Case, same
from zooadapt.testing.clauses import clause, require


@clause
def check_the_frozen_stays(case: Case) -> None:
    """At every cut: after two optimiser steps the frozen stages' state, buffers included, is the
    same bit for bit."""
    for training in case.trainings:
        require(
            not training.leaked,
            declared=f"nothing before cut {training.freeze_at} changes",
            actual=f"{', '.join(training.leaked[:3])} changed",
            remedy="list the modules that update buffers in `owns`, by themselves or by a parent",
        )


@clause
def check_the_rest_is_trained(case: Case) -> None:
    """At every cut: after two optimiser steps each parameter behind the cut, and the head's, that
    the network's own training moves has moved."""
    for training in case.trainings:
        require(
            not training.stuck,
            declared=f"every parameter behind cut {training.freeze_at} is trained",
            actual=f"{', '.join(training.stuck[:3])} did not move",
            remedy="let gradients through: no detach, no no_grad",
        )


@clause
@torch.no_grad()
def check_the_frozen_runs_as_in_evaluation(case: Case) -> None:
    """A frozen stage gives the same bits in training as in evaluation: its dropout is off, its norm
    layers use their running statistics."""
    with case.workbench() as backbone:
        backbone.freeze(backbone.depth)
        for k, stage in enumerate(backbone.stages):
            backbone.eval()
            expected = stage.run(case.activations(k))
            backbone.train()
            require(
                same(stage.run(case.activations(k)), expected),
                declared=f"stage '{stage.name}' as in eval mode",
                actual="another output, once the stage is frozen and the network is in train mode",
                remedy="list its dropout and norm modules in `owns`; call modules, whose mode can "
                "be set, in place of functions that ask for the network's",
            )
