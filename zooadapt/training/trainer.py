"""Trainings of parts of the data, each with what it learns, what it is compared on and its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic

import torch
from torch import Tensor

from zooadapt.backbone.activations import Carries
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Feed, Part
from zooadapt.backbone.staged import Chain
from zooadapt.data.splits import VAL
from zooadapt.runtime.progress import Progress
from zooadapt.training import strategies
from zooadapt.training.loop import Training
from zooadapt.training.plan import Plan
from zooadapt.training.probe import Solving
from zooadapt.training.strategies import TrainPhase


class Trainer:
    """Sets up the trainings of one run."""

    def __init__(
        self,
        chain: Chain,
        engine: Engine,
        carries: Carries,
        solving: Solving,
        class_weights: Tensor,
        progress: Progress,
        *,
        deadline: float,
        trained: float = 0.0,
    ) -> None:
        """solving: knows the labels that are learned; deadline: `time.monotonic()` seconds, after
        which no further step is taken; trained: seconds of it that were trained before this run
        went on."""
        self._chain, self._engine, self._carries = chain, engine, carries
        self._solving, self._weights, self._progress = solving, class_weights, progress
        self._deadline, self._trained = deadline, trained

    def training(self, plan: Plan, phases: Sequence[TrainPhase], *names: str) -> Training:
        """The training of these parts together. One that a refit is to follow leaves time for it:
        as much as the refit takes if the training takes all the time there is."""
        kept = torch.cat([self._solving.kept[name] for name in names])
        deadline = self._deadline
        if plan.refit and VAL not in names and deadline < math.inf:
            train, val = (len(self._solving.learned[name]) for name in (*names, VAL))
            share = strategies.REFIT_SHARE * (train + val) / train
            whole = deadline - monotonic() + self._trained
            deadline -= max(0.0, whole) * share / (1 + share)

        def feed_at(cut: int, held_out: bool) -> Feed:
            if held_out:
                return self._carries.at(VAL, cut)
            whole = self._carries.training(cut, *names)
            return whole if kept.all() else Part(whole, kept.nonzero()[:, 0].numpy())

        return Training(
            self._chain,
            self._engine,
            phases,
            plan.recipe,
            feed_at=feed_at,
            labels=torch.cat([self._solving.learned[name] for name in names])[kept],
            val_labels=torch.from_numpy(self._solving.given(VAL)),
            class_weights=self._weights,
            seed=plan.seed,
            progress=self._progress,
            deadline=deadline,
        )
