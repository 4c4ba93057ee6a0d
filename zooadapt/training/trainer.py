"""Trainings of parts of the data, each with its labels, validation part and deadline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic

import torch

from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, Part
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.data.splits import VAL
from zooadapt.runtime.progress import Progress
from zooadapt.training import strategies
from zooadapt.training.head_fitter import HeadFitter
from zooadapt.training.loop import Training
from zooadapt.training.objectives import Supervised
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import TrainPhase


class Trainer:
    """Sets up the trainings of one run."""

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        store: ActivationStore,
        fitter: HeadFitter,
        progress: Progress,
        *,
        deadline: float,
        trained: float = 0.0,
    ) -> None:
        """fitter: knows the labels that are learned; deadline: `time.monotonic()` seconds, after
        which no further step is taken; trained: seconds of it that were trained before this run
        went on."""
        self._backbone, self._engine, self._store = backbone, engine, store
        self._fitter, self._progress = fitter, progress
        self._deadline, self._trained = deadline, trained

    def training(self, plan: Plan, phases: Sequence[TrainPhase], *names: str) -> Training:
        """The training of these parts together. One that a refit is to follow leaves time for it:
        as much as the refit takes if the training takes all the time there is."""
        used = torch.cat([self._fitter.used[name] for name in names])
        deadline = self._deadline
        if plan.refit and VAL not in names and deadline < math.inf:
            train, val = (len(self._fitter.learned[name]) for name in (*names, VAL))
            share = strategies.REFIT_SHARE * (train + val) / train
            whole = deadline - monotonic() + self._trained
            deadline -= max(0.0, whole) * share / (1 + share)

        def loader_at(freeze_at: int, held_out: bool) -> Loader:
            if held_out:
                return self._store.at(VAL, freeze_at)
            whole = self._store.training(freeze_at, *names)
            return whole if used.all() else Part(whole, used.nonzero()[:, 0].numpy())

        objective = Supervised(
            self._backbone,
            self._engine,
            plan.recipe,
            task=self._fitter.task,
            loader_at=loader_at,
            labels=torch.cat([self._fitter.learned[name] for name in names])[used],
            val_labels=torch.from_numpy(self._fitter.labels(VAL)),
            evening=self._fitter.evening,
        )
        return Training(
            objective, phases, seed=plan.seed, progress=self._progress, deadline=deadline
        )
