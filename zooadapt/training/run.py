"""One adaptation at work: the phases of a plan carried out over the splits of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import dropwhile

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone import head_layer
from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.features import Features
from zooadapt.backbone.staged import POOLED, StagedBackbone
from zooadapt.data import Split
from zooadapt.data.splits import TRAIN, VAL
from zooadapt.heads import baselines
from zooadapt.heads.findings import Findings
from zooadapt.heads.metrics import Metrics
from zooadapt.heads.validation import Validation
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.training import conclusions, plan_json, policy, refit, weight_averaging
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.history import History
from zooadapt.training.loop import Training
from zooadapt.training.plan import Plan
from zooadapt.training.probe import HeadFitter, read_at
from zooadapt.training.strategies import ALWAYS, AUTO, GAINED, IN_DOUBT, FitPhase, TrainPhase
from zooadapt.training.trainer import Trainer
from zooadapt.training.transferability import Transferability
from zooadapt.training.weight_averaging import State


class Run:
    """Carries out a plan on a chain that is already in place; the chain is left as it ends."""

    def __init__(
        self,
        plan: Plan,
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
        self.plan = plan
        """What was done in the end, which `select` may make less of."""
        self.decisions: list[Choice] = []
        """What was decided on the way, each with the fact it rests on."""
        self._backbone, self._engine, self._store = backbone, engine, store
        self._splits, self._progress = splits, progress
        self._untrained = untrained
        self._labels = {name: torch.from_numpy(split.labels) for name, split in splits.items()}
        counts = torch.bincount(self._labels[TRAIN], minlength=plan.num_classes).double()
        self._weights = counts.sum() / (counts.clamp_min(1) * plan.num_classes)
        self._rows = Features(
            backbone, engine, store, batch_size=plan.recipe.batch_size, progress=progress
        )
        self._fitter = HeadFitter(plan, backbone.head, self._rows, splits, self._weights)
        self._trainer = Trainer(
            backbone, engine, store, self._fitter, self._weights, progress, deadline=deadline,
            trained=trained,
        )  # fmt: skip
        self._predicted: dict[str, np.ndarray] = {}
        self._temperature: float | None = None
        self._taught: TrainPhase | None = None
        self._left = False  # the source, for its network with random weights
        self._was_to_train = bool(plan.trained)

    def prepare(self) -> None:
        """Run what stays frozen, once: the carries of every split at every cut of the plan."""
        learned = (TRAIN, VAL) if self.plan.refit else (TRAIN,)
        for name, freeze_points in read_at(self.plan).items():
            if name in self._splits:
                self._store.prepare(name, sorted(freeze_points), views=name in learned)
        if self.plan.fits_head:
            self._fitter.find_repeats()

    @property
    def notes(self) -> list[str]:
        """What is odd about the data but usable, and about the cache."""
        return [*self._fitter.notes, *self._store.notes]

    @property
    def alike(self) -> Mapping[bytes, bytes]:
        """Contents that are nearly equal to another one, each with that one."""
        return self._fitter.alike

    def fit_head(self) -> None:
        """Solve the head on the training part's features, if the plan does; see whose label it
        does not believe, and where that is asked for, learn from those no more or otherwise."""
        if self.plan.fits_head:
            self._fitter.fit_head(TRAIN)
            if self._fitter.taught is not None:
                self._record(self._fitter.taught)
            self._fitter.suspect(*self._fitter.labelled)
            self._temperature = 1 / self._fitter.fit.scale

    def baselines(self) -> dict[str, Metrics]:
        """What the frozen source gives without training, on the held-out part: the most frequent
        class, the nearest neighbours among the features, and the solved head. Where nothing is held
        out, or no head is solved, the most frequent class alone."""
        labels, part = self._labels[TRAIN], VAL if VAL in self._splits else TRAIN
        said = baselines.majority(labels.numpy(), len(self._labels[part]))
        self._predicted = {"majority": said}
        if part == TRAIN or not self.plan.fits_head:
            return {"majority": self._fitter.measure_labels(said, part)}
        train, val = (torch.cat(list(self._rows(name)())) for name in (TRAIN, VAL))
        logits = self._engine.head_logits(self._backbone, val)
        once = self._fitter.distinct(TRAIN)
        self._predicted |= {
            "knn": baselines.nearest(train[once], labels[once], val, self.plan.num_classes),
            "probe": logits.argmax(1).numpy(),
        }
        score = self._fitter.measure_labels
        simple = {name: score(self._predicted[name], VAL) for name in ("majority", "knn")}
        return simple | {"probe": self._fitter.measure(logits, VAL)}

    def train(self, checkpoint: Checkpoint, *, resume: bool) -> History:
        """Train through the plan's phases; the best epoch on the validation part is kept, the
        solved head's before the first epoch included. What there is to choose is seen from features
        first: whether to leave a source that teaches nothing, and whether to train at once. An
        interrupted run has seen it."""
        before = len(self.decisions)
        if resume:
            self.plan, decisions, left = plan_json.from_json(checkpoint.settled())
            for choice in decisions:
                self._record(choice)
            if left:
                self._leave_source()
        else:
            self._look()
        checkpoint.settle(plan_json.to_json(self.plan, self.decisions[before:], left=self._left))
        if not (phases := self.plan.trained):
            return History()
        fitted = weight_averaging.copy(self._backbone.net) if self._chooses else None
        if self._chooses and self.plan.from_scratch:
            self._backbone.net.load_state_dict(self._untrained())
        training = self._trainer.training(self.plan, phases, TRAIN)
        history = training.run(
            keep_start=self.plan.fits_head and fitted is None, checkpoint=checkpoint, resume=resume
        )
        if history.best:
            number = history.epochs[history.best - 1].phase
            done = sum(epoch.phase == number for epoch in history.epochs)
            self._taught = replace(phases[number], epochs=done)
        if history.scale is not None:
            self._temperature = 1 / history.scale
        if fitted is not None:
            self._select(fitted, training, history)
        return history

    def refit(self) -> bool:
        """Teach the chosen model the held-out samples too, after `validation`; whether it was. It
        is left as it is where the time is over, or where it would then be right about fewer of
        these samples than before it had learned them."""
        if not (self.plan.refit and self.plan.trained):
            return False
        if self._taught is None:
            if self.plan.fits_head:
                self._fit_all()
                self._decide("refit", "the head fitted on all samples", "no epoch was better")
            return self.plan.fits_head
        learned, choice = refit.refit(
            self._backbone,
            lambda phase: self._trainer.training(self.plan, (phase,), TRAIN, VAL),
            self._taught,
            temperature=self._temperature,
            truth=self._fitter.learned[VAL].numpy(),
            counted_on=self._fitter.kept[VAL].numpy(),
            before=self._predicted["model"],
            after=lambda: self._logits(VAL, ""),
        )
        self._record(choice)
        return learned

    def validation(self) -> Metrics:
        """Accuracy on what was not trained on: the held-out part, or, where only a head was solved
        and nothing had to be held out, each sample by the head solved without it."""
        fitter = self._fitter
        if fitter.fit is None or self.plan.trained:
            logits = self._logits(VAL, f"evaluating {VAL}")
            self._predicted["model"] = logits.argmax(1).numpy()
            return self._fitter.measure(logits, VAL)
        logits = fitter.fit.held_out_logits
        if VAL not in self._splits:
            self._predicted["model"] = logits[: len(self._labels[TRAIN])].argmax(1).numpy()
        return self._fitter.measure(logits, *fitter.parts)

    def findings(self, measured: Mapping[str, Metrics]) -> Findings:
        """What there is to say beside the scores, after `validation`; measured: the baselines."""
        if self.plan.trained and "probe" in measured:
            right = conclusions.model_answers(self._predicted) == self._fitter.given(VAL)
            if harm := conclusions.harm(float(right.mean()), measured["probe"].accuracy):
                self._record(harm)
        return conclusions.findings(
            self.plan,
            self._fitter,
            self._splits,
            self._predicted,
            measured,
            temperature=self._temperature,
            was_to_train=self._was_to_train,
        )

    def score(self, name: str) -> Metrics:
        """Metrics of the chain on a split."""
        logits = self._logits(name, f"evaluating {name}")
        self._predicted[name] = logits.argmax(1).numpy()
        return self._fitter.measure(logits, name)

    @property
    def _chooses(self) -> bool:
        return self.plan.strategy == AUTO and self.plan.fits_head

    def _look(self) -> None:
        if self.plan.may_leave_source:
            self._look_at_source()
        if self._chooses and self.plan.trained and not self._left:
            self._keep_right()
        if any(phase.when == IN_DOUBT for phase in self.plan.trained):
            self._look_at_stages()

    def _leave_source(self) -> None:
        self._left = True
        self._store.forget()
        self._rows.forget()
        self._backbone.net.load_state_dict(self._untrained())
        self._fitter.fit_head(TRAIN)
        self._temperature = 1 / self._fitter.fit.scale

    def _look_at_source(self) -> None:
        """Where its features tell hardly more than those of the same network untrained, train that
        one, if all of it is to be trained and there is enough to learn features from. Where they
        tell significantly less, its place as the model without training is taken by a head on the
        untrained network, whatever is trained."""
        plan = self.plan
        useless, better, fact = self._transferability().of_source(
            self._untrained(), self._store.at(TRAIN, 0)
        )
        if better:
            self._leave_source()
        if better and (plan.freeze_at or len(self._labels[TRAIN]) < policy.LEARNABLE):
            self._keep_probe(weight_averaging.copy(self._backbone.net), fact)
        elif useless and not plan.freeze_at:
            deepest = min(plan.trained, key=lambda phase: phase.freeze_at)
            phases = (FitPhase(), replace(deepest, when=ALWAYS))
            recipe = replace(plan.recipe, norm_statistics="train", stage_decay=1.0)
            self.plan = replace(plan, from_scratch=True, phases=phases, recipe=recipe)
            self._decide("train", "from random weights, the source teaches next to nothing", fact)

    def _keep_right(self) -> None:
        """Where the solved head is right on all held-out samples, no training can be seen to gain
        anything: it is kept, as it would be after training."""
        right = self._predicted["probe"] == self._labels[VAL].numpy()
        if distributed.broadcast(lambda: bool(right.all())):
            fact = f"it is right on all {len(right)} held-out samples: training cannot gain there"
            self._keep_probe(weight_averaging.copy(self._backbone.net), fact)

    def _look_at_stages(self) -> None:
        """Where all of them together tell more than the last one, train at once."""
        stages = self._store.at(TRAIN, POOLED)
        if stages.freeze_at != POOLED:
            return  # not stored, so it stays in doubt
        better, fact = self._transferability().of_stages(stages)
        if better:
            at_once = dropwhile(lambda phase: phase.when != GAINED, self.plan.trained)
            self.plan = replace(self.plan, phases=(FitPhase(), *at_once))
        self._decide("train", "at once" if better else "in doubt, the last stages first", fact)

    def _transferability(self) -> Transferability:
        return Transferability(
            self._backbone,
            self._engine,
            self._rows(TRAIN),
            self._labels[TRAIN],
            self._fitter.groups(TRAIN),
            batch_size=self.plan.recipe.batch_size,
            progress=self._progress,
        )

    def _decide(self, what: str, value: str, why: str) -> None:
        self._record(Choice(what=what, value=value, why=why))

    def _record(self, choice: Choice) -> None:
        self.decisions.append(choice)
        self._progress.say(f"{choice.what}: {choice.value} ({choice.why})")

    def _select(self, fitted: State, training: Training, history: History) -> None:
        """Leave the chain at the best of the models between the solved and the trained one, by the
        validation part; from scratch there is nothing between them. Where training gained nothing
        that could not be chance, the solved head remains, solved on the held-out samples too."""
        trained = weight_averaging.copy(self._backbone.net)
        done = {epoch.phase for epoch in history.epochs} or {0}
        begun = tuple(phase for k, phase in enumerate(self.plan.trained) if k in done)
        self.plan = replace(self.plan, phases=(FitPhase(), *begun))

        def measured(share: float) -> Validation:
            state = weight_averaging.blend(fitted, trained, share)
            return training.measure(state, mean=0 < share < 1)[0]

        shares = (1.0,) if self.plan.from_scratch else policy.WEIGHTS
        share, found, fact = policy.choose(measured, shares if history.epochs else ())
        if share:
            head_layer.rescale(self._backbone.head, found.scale)
            self._temperature /= found.scale
            what = policy.described(share, from_scratch=self.plan.from_scratch)
        else:
            return self._keep_probe(fitted, fact)
        self._decide("model", what, fact)

    def _keep_probe(self, state: State, fact: str) -> None:
        """Nothing is trained: the head is fitted on the held-out samples, too."""
        self._backbone.net.load_state_dict(state)
        self._fit_all()
        plan = replace(self.plan, phases=(FitPhase(),), from_scratch=self._left)
        train, val = (len(self._labels[name]) for name in (TRAIN, VAL))
        self.plan = replace(plan, val=plan.fitted_val, train_samples=train + val)
        network = "the linear probe"
        if self._left:
            answers = self._fitter.fit.held_out_logits[train : train + val]
            self._predicted["model"] = answers.argmax(1).numpy()
            network = "the untrained network"
        self._decide("model", f"{network}, its head fitted on all samples", fact)

    def _fit_all(self) -> None:
        self._fitter.fit_head(TRAIN, VAL)
        self._temperature = 1 / self._fitter.fit.scale

    def _logits(self, name: str, what: str) -> Tensor:
        loader = self._store.at(name, self.plan.freeze_at)
        return self._engine.logits(
            self._backbone,
            loader,
            batch_size=self.plan.recipe.batch_size,
            progress=self._progress if what else Progress(),
            what=what,
        )
