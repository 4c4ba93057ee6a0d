"""One adaptation at work: the phases of a plan carried out over the parts of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
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
from zooadapt.heads.metrics import Metrics
from zooadapt.heads.validation import Validation
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.training import conclusions, plan_json, weight_averaging
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.head_fitter import HeadFitter, read_at
from zooadapt.training.history import History
from zooadapt.training.loop import Training
from zooadapt.training.plan import Plan
from zooadapt.training.policy import Policy
from zooadapt.training.refit import refit
from zooadapt.training.strategies import FitPhase, TrainPhase
from zooadapt.training.trainer import Trainer
from zooadapt.training.transferability import Transferability
from zooadapt.training.weight_averaging import State


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """How far a run has come. Every step of a `Run` takes one and gives the next."""

    plan: Plan
    """What was done in the end: decisions on the way may make less of what was planned."""
    decisions: tuple[Choice, ...] = ()
    """What was decided on the way, each with the fact it rests on."""
    left_source: bool = False
    """Whether the network has random weights in place of the source's."""
    temperature: float | None = None
    """What the head's logits are divided by."""
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    predicted: Mapping[str, np.ndarray] = field(default_factory=dict)
    """`(n,)` classes by baseline, and of the model, where the baselines were measured; and of the
    model on other parts."""
    history: History = field(default_factory=History)
    fine_tuned: TrainPhase | None = None
    """The phase of the best epoch, with the epochs that it took."""
    val: Metrics | None = None
    refitted: bool = False
    test: Metrics | None = None


class Run:
    """Carries out a plan on a backbone that is already in place, which is left as it ends."""

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
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
        counts = torch.bincount(self._labels[TRAIN], minlength=plan.num_classes).double()
        weights = counts.sum() / (counts.clamp_min(1) * plan.num_classes)
        self._rows = Features(
            backbone, engine, store, batch_size=plan.recipe.batch_size, progress=progress
        )
        self._fitter = HeadFitter(plan, backbone.head, self._rows, splits, weights)
        self._trainer = Trainer(
            backbone, engine, store, self._fitter, weights, progress, deadline=deadline,
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

    def fit(self) -> Progressed:
        """Fit the head on the training part's features, if the plan does; find label issues, and
        where that is asked for, drop or relabel them and fit it again."""
        at = Progressed(plan=self._planned)
        if not at.plan.fits_head:
            return at
        fit = self._fitter.fit_head(TRAIN)
        fit = self._fitter.find_label_issues(fit, *self._fitter.labelled)
        return replace(at, temperature=1 / fit.scale)

    def baselines(self, at: Progressed) -> Progressed:
        """What the frozen source gives without training, on the held-out part: the most frequent
        class, the nearest neighbours among the features, and the linear probe. Where nothing is
        held out, or no head is fitted, the most frequent class alone."""
        fitter, labels = self._fitter, self._labels[TRAIN]
        part = VAL if VAL in self._splits else TRAIN
        predicted = {"majority": baselines.majority(labels.numpy(), len(self._labels[part]))}
        if part == TRAIN or not at.plan.fits_head:
            measured = {"majority": fitter.measure_labels(predicted["majority"], part)}
            return replace(at, predicted=predicted, baselines=measured)
        train, val = (torch.cat(list(self._rows(name)())) for name in (TRAIN, VAL))
        logits = self._engine.head_logits(self._backbone, val)
        once = fitter.distinct(TRAIN)
        predicted["knn"] = baselines.nearest(train[once], labels[once], val, at.plan.num_classes)
        measured = {name: fitter.measure_labels(one, VAL) for name, one in predicted.items()}
        measured["probe"] = fitter.measure(logits, VAL)
        predicted["probe"] = logits.argmax(1).numpy()
        return replace(at, predicted=predicted, baselines=measured)

    def train(self, at: Progressed, checkpoint: Checkpoint, *, resume: bool) -> Progressed:
        """Train through the plan's phases and leave the backbone with the model to export: the best
        epoch on the validation part, the linear probe before the first one included. The policy is
        asked before: an interrupted run has asked it already."""
        before = len(at.decisions)
        at = self._resumed(at, checkpoint) if resume else self._look_ahead(at)
        checkpoint.settle(plan_json.to_json(at.plan, at.decisions[before:], left=at.left_source))
        if not (phases := at.plan.trained):
            return at
        chooses = self._policy.chooses
        probe = weight_averaging.copy(self._backbone.net) if chooses else None
        if chooses and at.plan.from_scratch:
            self._backbone.net.load_state_dict(self._untrained())
        training = self._trainer.training(at.plan, phases, TRAIN)
        history = training.run(
            keep_start=at.plan.fits_head and not chooses, checkpoint=checkpoint, resume=resume
        )
        at = replace(at, history=history)
        if history.best:
            number = history.epochs[history.best - 1].phase
            epochs = sum(epoch.phase == number for epoch in history.epochs)
            at = replace(at, fine_tuned=replace(phases[number], epochs=epochs))
        if history.scale is not None:
            at = replace(at, temperature=1 / history.scale)
        return at if probe is None else self._choose(at, probe, training)

    def validate(self, at: Progressed) -> Progressed:
        """Accuracy on what was not trained on: the held-out part, or, where only a head was fitted
        and nothing had to be held out, each sample by the head fitted without it."""
        fit, predicted = self._fitter.fit, dict(at.predicted)
        if fit is None or at.plan.trained:
            logits = self._logits(at, VAL, f"evaluating {VAL}")
            predicted["model"] = logits.argmax(1).numpy()
            return replace(at, predicted=predicted, val=self._fitter.measure(logits, VAL))
        logits = fit.held_out_logits
        if VAL not in self._splits:
            predicted["model"] = logits[: len(self._labels[TRAIN])].argmax(1).numpy()
        val = self._fitter.measure(logits, *self._fitter.parts)
        return replace(at, predicted=predicted, val=val)

    def refit(self, at: Progressed) -> Progressed:
        """Train the chosen model on the held-out samples too, after `validate`, if the policy keeps
        that; where no epoch was better, fit the head on all samples."""
        if not (at.plan.refit and at.plan.trained):
            return at
        if at.fine_tuned is not None and at.temperature is not None:
            keeps, choice = refit(
                self._backbone,
                lambda phase: self._trainer.training(at.plan, (phase,), TRAIN, VAL),
                at.fine_tuned,
                self._policy,
                temperature=at.temperature,
                truth=self._fitter.learned[VAL].numpy(),
                counted=self._fitter.used[VAL].numpy(),
                before=at.predicted["model"],
                after=lambda: self._logits(at, VAL, ""),
            )
            return self._decided(replace(at, refitted=keeps), choice)
        if not at.plan.fits_head:
            return at
        fit = self._fitter.fit_head(TRAIN, VAL)
        at = replace(at, temperature=1 / fit.scale, refitted=True)
        value, why = "the head fitted on all samples", "no epoch was better"
        return self._decided(at, Choice(what="refit", value=value, why=why))

    def test(self, at: Progressed) -> Progressed:
        """Metrics of the model on the test part."""
        logits = self._logits(at, TEST, f"evaluating {TEST}")
        predicted = {**at.predicted, TEST: logits.argmax(1).numpy()}
        return replace(at, predicted=predicted, test=self._fitter.measure(logits, TEST))

    def conclude(self, at: Progressed) -> tuple[Progressed, Findings]:
        """What there is to say beside the scores, after `validate` and `test`."""
        if at.plan.trained and "probe" in at.baselines:
            right = conclusions.model_answers(at.predicted) == self._fitter.labels(VAL)
            harm = conclusions.harm(float(right.mean()), at.baselines["probe"].accuracy)
            at = self._decided(at, harm) if harm else at
        return at, conclusions.findings(
            at.plan,
            self._fitter,
            self._splits,
            at.predicted,
            at.baselines,
            temperature=at.temperature,
            was_to_train=bool(self._planned.trained),
        )

    def _resumed(self, at: Progressed, checkpoint: Checkpoint) -> Progressed:
        plan, decisions, left = plan_json.from_json(checkpoint.settled())
        at = replace(at, plan=plan)
        for choice in decisions:
            at = self._decided(at, choice)
        return self._leave_source(at) if left else at

    def _look_ahead(self, at: Progressed) -> Progressed:
        """Ask the policy what features tell before anything is trained: whether to leave the
        source, whether the linear probe will do, whether to train at once."""
        if self._policy.asks_source(at.plan):
            losses = self._transferability().of_source(self._untrained(), self._store.at(TRAIN, 0))
            answer = self._policy.leave_source(at.plan, losses)
            at = self._leave_source(at) if answer.untrained else at
            if not answer.trains:
                return self._keep_probe(at, weight_averaging.copy(self._backbone.net), answer.why)
            if answer.retrains:
                value = "from random weights, the source teaches next to nothing"
                choice = Choice(what="train", value=value, why=answer.why)
                at = self._decided(replace(at, plan=answer.plan), choice)
        if self._policy.chooses and at.plan.trained and not at.left_source:
            right = at.predicted["probe"] == self._labels[VAL].numpy()
            if why := self._policy.keep_probe(right):
                return self._keep_probe(at, weight_averaging.copy(self._backbone.net), why)
        stages = self._store.at(TRAIN, POOLED) if self._policy.asks_stages(at.plan) else None
        if stages is not None and stages.freeze_at == POOLED:  # else not stored: stays in doubt
            last, whole = self._transferability().of_stages(stages)
            plan, choice = self._policy.start(at.plan, last, whole)
            at = self._decided(replace(at, plan=plan), choice)
        return at

    def _leave_source(self, at: Progressed) -> Progressed:
        self._store.forget()
        self._rows.forget()
        self._backbone.net.load_state_dict(self._untrained())
        fit = self._fitter.fit_head(TRAIN)
        return replace(at, left_source=True, temperature=1 / fit.scale)

    def _choose(self, at: Progressed, probe: State, training: Training) -> Progressed:
        """Leave the backbone at the model that the policy chooses between the linear probe and the
        fine-tuned one."""
        tuned = weight_averaging.copy(self._backbone.net)
        begun = {epoch.phase for epoch in at.history.epochs} or {0}
        phases = tuple(phase for k, phase in enumerate(at.plan.trained) if k in begun)
        at = replace(at, plan=replace(at.plan, phases=(FitPhase(), *phases)))

        def measure(share: float) -> Validation:
            state = weight_averaging.blend(probe, tuned, share)
            return training.measure(state, mean=0 < share < 1)[0]

        answer = self._policy.model(
            measure, trained=bool(at.history.epochs), from_scratch=at.plan.from_scratch
        )
        if not answer.share:
            return self._keep_probe(at, probe, answer.why)
        scale = answer.validation.scale
        head_layer.rescale(self._backbone.head, scale)
        at = replace(at, temperature=(at.temperature or 1.0) / scale)
        return self._decided(at, Choice(what="model", value=answer.name, why=answer.why))

    def _keep_probe(self, at: Progressed, state: State, why: str) -> Progressed:
        """Nothing is trained: the head is fitted on the held-out samples, too."""
        self._backbone.net.load_state_dict(state)
        fit = self._fitter.fit_head(TRAIN, VAL)
        train, val = (len(self._labels[name]) for name in (TRAIN, VAL))
        plan = replace(at.plan, phases=(FitPhase(),), from_scratch=at.left_source)
        plan = replace(plan, val=plan.fitted_val, train_samples=train + val)
        at = replace(at, plan=plan, temperature=1 / fit.scale)
        network = "the linear probe"
        if at.left_source:
            answers = fit.held_out_logits[train : train + val].argmax(1).numpy()
            at = replace(at, predicted={**at.predicted, "model": answers})
            network = "the untrained network"
        value = f"{network}, its head fitted on all samples"
        return self._decided(at, Choice(what="model", value=value, why=why))

    def _transferability(self) -> Transferability:
        return Transferability(
            self._backbone,
            self._engine,
            self._rows(TRAIN),
            self._labels[TRAIN],
            self._fitter.groups(TRAIN),
            batch_size=self._planned.recipe.batch_size,
            progress=self._progress,
        )

    def _logits(self, at: Progressed, name: str, what: str) -> Tensor:
        return self._engine.logits(
            self._backbone,
            self._store.at(name, at.plan.freeze_at),
            batch_size=self._planned.recipe.batch_size,
            progress=self._progress if what else Progress(),
            what=what,
        )

    def _decided(self, at: Progressed, choice: Choice) -> Progressed:
        self._progress.say(f"{choice.what}: {choice.value} ({choice.why})")
        return replace(at, decisions=(*at.decisions, choice))
