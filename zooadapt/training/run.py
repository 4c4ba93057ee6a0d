"""One adaptation at work: the phases of a plan carried out over the parts of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from zooadapt.backbone import head_layer
from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.features import Features
from zooadapt.backbone.staged import POOLED, StagedBackbone
from zooadapt.data import Split
from zooadapt.data.splits import TEST, TRAIN, VAL
from zooadapt.heads import baselines
from zooadapt.heads.findings import Findings
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.task import Task
from zooadapt.tasks.validation import Validation
from zooadapt.training import conclusions, plan_json, weight_averaging
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.head_fitter import HeadFitter, read_at
from zooadapt.training.loop import Training
from zooadapt.training.plan import Plan
from zooadapt.training.policy import Policy
from zooadapt.training.refit import refit
from zooadapt.training.run_state import RunState
from zooadapt.training.strategies import FitPhase
from zooadapt.training.trainer import Trainer
from zooadapt.training.transferability import Transferability
from zooadapt.training.weight_averaging import State


class Run:
    """Carries out a plan on a backbone that is already in place, which is left as it ends."""

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        task: Task,
        backbone: StagedBackbone,
        engine: Engine,
        store: ActivationStore,
        splits: Mapping[str, Split],
        progress: Progress,
        *,
        untrained: Callable[[], State],
        deadline: float = math.inf,
        trained: float = 0.0,
    ) -> None:
        """untrained: the state of the same network with random weights; deadline and trained: as
        `Trainer` takes them."""
        self._planned, self._policy = plan, policy
        self._backbone, self._engine, self._store = backbone, engine, store
        self._splits, self._progress = splits, progress
        self._untrained = untrained
        self._labels = {name: torch.from_numpy(split.labels) for name, split in splits.items()}
        self._rows = Features(
            backbone, engine, store, batch_size=plan.recipe.batch_size, progress=progress
        )
        self._fitter = HeadFitter(plan, task, backbone.head, self._rows, splits)
        self._trainer = Trainer(
            backbone, engine, store, self._fitter, progress, deadline=deadline,
            trained=trained,
        )  # fmt: skip

    def prepare(self) -> None:
        """Run what stays frozen, once: the activations of every part at every freeze point."""
        plan = self._planned
        for name, points in read_at(plan).items():
            if name in self._splits:
                self._store.prepare(name, sorted(points))
        if plan.fits_head:
            self._fitter.find_repeats()

    @property
    def notes(self) -> list[str]:
        """What is odd about the data but usable, and about the cache."""
        return [*self._fitter.notes, *self._store.notes]

    @property
    def alike(self) -> Mapping[bytes, bytes]:
        """Contents that are nearly equal to another one, each with that one."""
        return self._fitter.alike

    @property
    def task(self) -> Task:
        """What is learned, with what held-out predictions told of it after `validate`."""
        return self._fitter.task

    def fit(self) -> RunState:
        """Fit the head on the training part's features, if the plan does; find label issues, and
        where that is asked for, drop or relabel them and fit it again."""
        state = RunState(plan=self._planned)
        fits = state.plan.fits_head
        if choice := self._fitter.represent(TRAIN, fits=fits):
            state = self._decided(state, choice)
        if not fits:
            return state
        fit = self._fitter.fit_head(TRAIN)
        fit = self._fitter.find_label_issues(fit, *self._fitter.labelled)
        return replace(state, temperature=1 / fit.scale)

    def baselines(self, state: RunState) -> RunState:
        """What the frozen source gives without training, on the held-out part: the nearest
        neighbours among the features, and the linear probe, beside the best model that knows no
        features. Where nothing is held out, or no head is fitted, the latter alone."""
        fitter, labels = self._fitter, self._labels[TRAIN]
        part = VAL if VAL in self._splits else TRAIN
        task = fitter.task
        predicted = {"majority": task.constant(labels.numpy(), len(self._labels[part]))}
        if part == TRAIN or not state.plan.fits_head:
            measured = {"majority": fitter.measure_answers(predicted["majority"], part)}
            return replace(state, predicted=predicted, baselines=measured)
        train, val = (torch.cat(list(self._rows(name)())) for name in (TRAIN, VAL))
        logits = self._engine.head_logits(self._backbone, val)
        once = fitter.distinct(TRAIN)
        predicted["knn"] = baselines.nearest(train[once], labels[once], val, task)
        measured = {name: fitter.measure_answers(one, VAL) for name, one in predicted.items()}
        fitter.settle(logits, VAL)
        measured["probe"] = fitter.measure(logits, VAL)
        predicted["probe"] = self._fitter.answers(logits)
        return replace(state, predicted=predicted, baselines=measured)

    def train(self, state: RunState, checkpoint: Checkpoint, *, resume: bool) -> RunState:
        """Train through the plan's phases and leave the backbone with the model to export: the best
        epoch on the validation part, the linear probe before the first one included. The policy is
        asked before: an interrupted run has asked it already."""
        before = len(state.decisions)
        state = self._resumed(state, checkpoint) if resume else self._look_ahead(state)
        checkpoint.settle(
            plan_json.to_json(state.plan, state.decisions[before:], left=state.left_source)
        )
        if not (phases := state.plan.trained):
            return state
        chooses = self._policy.chooses
        probe = weight_averaging.copy(self._backbone.net) if chooses else None
        if chooses and state.plan.from_scratch:
            self._backbone.net.load_state_dict(self._untrained())
        training = self._trainer.training(state.plan, phases, TRAIN)
        history = training.run(
            keep_start=state.plan.fits_head and not chooses, checkpoint=checkpoint, resume=resume
        )
        state = replace(state, history=history)
        if history.best:
            number = history.epochs[history.best - 1].phase
            epochs = sum(epoch.phase == number for epoch in history.epochs)
            state = replace(state, fine_tuned=replace(phases[number], epochs=epochs))
        if history.scale is not None:
            state = replace(state, temperature=1 / history.scale)
        return state if probe is None else self._choose(state, probe, training)

    def validate(self, state: RunState) -> RunState:
        """Settle the task on, and measure the model by, what was not trained on: the held-out part,
        or, where only a head was fitted and nothing had to be held out, each sample by the head
        fitted without it."""
        fit, predicted = self._fitter.fit, dict(state.predicted)
        parts: tuple[str, ...] = (VAL,)
        if fit is None or state.plan.trained:
            logits = own = self._logits(state, VAL, f"evaluating {VAL}")
        else:
            logits, parts = fit.held_out_logits, self._fitter.parts
            own = logits[: len(self._labels[TRAIN])]
        self._fitter.settle(logits, *parts)
        if parts == (VAL,) or VAL not in self._splits:
            predicted["model"] = self._fitter.answers(own)
        val, answers = self._fitter.measure(logits, *parts), self._fitter.answers_of(logits, *parts)
        return replace(state, predicted=predicted, val=val, answers=answers)

    def refit(self, state: RunState) -> RunState:
        """Train the chosen model on the held-out samples too, after `validate`, if the policy keeps
        that; where no epoch was better, fit the head on all samples."""
        if not (state.plan.refit and state.plan.trained):
            return state
        if state.fine_tuned is not None and state.temperature is not None:
            keeps, choice = refit(
                self._backbone,
                lambda phase: self._trainer.training(state.plan, (phase,), TRAIN, VAL),
                state.fine_tuned,
                self._policy,
                temperature=state.temperature,
                before=self._fitter.error(state.predicted["model"], VAL),
                after=lambda: self._fitter.error_of(self._logits(state, VAL, ""), VAL),
            )
            return self._decided(replace(state, refitted=keeps), choice)
        if not state.plan.fits_head:
            return state
        fit = self._fitter.fit_head(TRAIN, VAL)
        state = replace(state, temperature=1 / fit.scale, refitted=True)
        value, why = "the head fitted on all samples", "no epoch was better"
        return self._decided(state, Choice(what="refit", value=value, why=why))

    def test(self, state: RunState) -> RunState:
        """Metrics of the model on the test part."""
        logits = self._logits(state, TEST, f"evaluating {TEST}")
        predicted = {**state.predicted, TEST: self._fitter.answers(logits)}
        return replace(
            state,
            predicted=predicted,
            test=self._fitter.measure(logits, TEST),
            answers=self._fitter.answers_of(logits, TEST),
        )

    def conclude(self, state: RunState) -> tuple[RunState, Findings]:
        """What there is to say beside the scores, after `validate` and `test`."""
        if state.plan.trained and "probe" in state.baselines:
            truth, errors = self._fitter.labels(VAL), self._fitter.task.errors
            model = errors(conclusions.model_answers(state.predicted), truth)
            probe = errors(state.predicted["probe"], truth)
            harm = conclusions.harm(float(model.mean()), float(probe.mean()))
            state = self._decided(state, harm) if harm else state
        return state, conclusions.findings(
            state.plan,
            self._fitter,
            self._splits,
            state.predicted,
            state.baselines,
            temperature=state.temperature,
            was_to_train=bool(self._planned.trained),
        )

    def _resumed(self, state: RunState, checkpoint: Checkpoint) -> RunState:
        plan, decisions, left = plan_json.from_json(checkpoint.settled())
        state = replace(state, plan=plan)
        for choice in decisions:
            state = self._decided(state, choice)
        return self._leave_source(state) if left else state

    def _look_ahead(self, state: RunState) -> RunState:
        """Ask the policy what features tell before anything is trained: whether to leave the
        source, whether the linear probe will do, whether to train at once."""
        if self._policy.asks_source(state.plan):
            losses = self._transferability().of_source(self._untrained(), self._store.at(TRAIN, 0))
            answer = self._policy.leave_source(state.plan, losses)
            state = self._leave_source(state) if answer.untrained else state
            if not answer.trains:
                return self._keep_probe(
                    state, weight_averaging.copy(self._backbone.net), answer.why
                )
            if answer.retrains:
                value = "from random weights, the source teaches next to nothing"
                choice = Choice(what="train", value=value, why=answer.why)
                state = self._decided(replace(state, plan=answer.plan), choice)
        if self._policy.chooses and state.plan.trained and not state.left_source:
            truth = self._fitter.labels(VAL)
            right = self._fitter.task.errors(state.predicted["probe"], truth) == 0
            if why := self._policy.keep_probe(right):
                return self._keep_probe(state, weight_averaging.copy(self._backbone.net), why)
        stages = self._store.at(TRAIN, POOLED) if self._policy.asks_stages(state.plan) else None
        if stages is not None and stages.freeze_at == POOLED:  # else not stored: stays in doubt
            last, whole = self._transferability().of_stages(stages)
            plan, choice = self._policy.start(state.plan, last, whole)
            state = self._decided(replace(state, plan=plan), choice)
        return state

    def _leave_source(self, state: RunState) -> RunState:
        self._store.forget()
        self._rows.forget()
        self._backbone.net.load_state_dict(self._untrained())
        fit = self._fitter.fit_head(TRAIN)
        return replace(state, left_source=True, temperature=1 / fit.scale)

    def _choose(self, state: RunState, probe: State, training: Training) -> RunState:
        """Leave the backbone at the model that the policy chooses between the linear probe and the
        fine-tuned one."""
        tuned = weight_averaging.copy(self._backbone.net)
        begun = {epoch.phase for epoch in state.history.epochs} or {0}
        phases = tuple(phase for k, phase in enumerate(state.plan.trained) if k in begun)
        state = replace(state, plan=replace(state.plan, phases=(FitPhase(), *phases)))

        def measure(share: float) -> Validation:
            weights = weight_averaging.blend(probe, tuned, share)
            return training.measure(weights, mean=0 < share < 1)[0]

        answer = self._policy.model(
            measure, trained=bool(state.history.epochs), from_scratch=state.plan.from_scratch
        )
        if not answer.share:
            return self._keep_probe(state, probe, answer.why)
        scale = answer.validation.scale
        head_layer.rescale(self._backbone.head, scale)
        state = replace(state, temperature=(state.temperature or 1.0) / scale)
        return self._decided(state, Choice(what="model", value=answer.name, why=answer.why))

    def _keep_probe(self, state: RunState, weights: State, why: str) -> RunState:
        """Nothing is trained: the head is fitted on the held-out samples, too."""
        self._backbone.net.load_state_dict(weights)
        fit = self._fitter.fit_head(TRAIN, VAL)
        train, val = (len(self._labels[name]) for name in (TRAIN, VAL))
        plan = replace(state.plan, phases=(FitPhase(),), from_scratch=state.left_source)
        plan = replace(plan, val=plan.fitted_val, train_samples=train + val)
        state = replace(state, plan=plan, temperature=1 / fit.scale)
        network = "the linear probe"
        if state.left_source:
            answers = self._fitter.answers(fit.held_out_logits[train : train + val])
            state = replace(state, predicted={**state.predicted, "model": answers})
            network = "the untrained network"
        value = f"{network}, its head fitted on all samples"
        return self._decided(state, Choice(what="model", value=value, why=why))

    def _transferability(self) -> Transferability:
        return Transferability(
            self._backbone,
            self._engine,
            self._rows(TRAIN),
            self._labels[TRAIN],
            self._fitter.groups(TRAIN),
            self._fitter.task,
            batch_size=self._planned.recipe.batch_size,
            progress=self._progress,
        )

    def _logits(self, state: RunState, name: str, what: str) -> Tensor:
        return self._engine.logits(
            self._backbone,
            self._store.at(name, state.plan.freeze_at),
            batch_size=self._planned.recipe.batch_size,
            progress=self._progress if what else Progress(),
            what=what,
        )

    def _decided(self, state: RunState, choice: Choice) -> RunState:
        self._progress.say(f"{choice.what}: {choice.value} ({choice.why})")
        return replace(state, decisions=(*state.decisions, choice))
