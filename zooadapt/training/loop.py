"""The one training loop: phases of a strategy over carries, resumable, a function of its seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone import head_layer
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, shuffled
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError, PluginError
from zooadapt.family import Activations
from zooadapt.heads import selection
from zooadapt.heads.validation import Validation, validate
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.training import lora, norm_statistics, weight_averaging
from zooadapt.training.checkpoint import Checkpoint, otherwise_stored
from zooadapt.training.history import Epoch, History
from zooadapt.training.losses import diverged, loss_of
from zooadapt.training.mixup import mix
from zooadapt.training.optimizer import Optimizer, schedule
from zooadapt.training.strategies import ALWAYS, GAINED, LOST, Recipe, TrainPhase
from zooadapt.training.weight_averaging import Kept, State

LoaderAt = Callable[[int, bool], Loader]
"""The feed of training (False) or validation (True) carries at a cut."""


class Training:
    """Trains a chain through phases and leaves it at its best epoch by validation loss.

    Everything random is a function of (seed, phase, epoch, step, sample), and the state between two
    steps is all there is: a resumed run ends in the same bytes as one that was not interrupted.

    Several processes share each batch and sum their gradients, so that a step is what it is with
    one, up to rounding; but dropout is drawn in each, and norm layers whose statistics are trained
    normalise over each one's share, their running statistics being averaged after the step.
    """

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        phases: Sequence[TrainPhase],
        recipe: Recipe,
        *,
        loader_at: LoaderAt,
        labels: Tensor,
        val_labels: Tensor,
        class_weights: Tensor,
        seed: int,
        progress: Progress,
        deadline: float = math.inf,
    ) -> None:
        """labels and val_labels: `(n,)` int64, in the order of the feeds' samples. class_weights:
        `(K,)` float64, what evens the classes out. deadline: `time.monotonic()` seconds, after
        which no step is begun."""
        self._backbone, self._engine, self._phases, self._recipe = backbone, engine, phases, recipe
        self._loader_at, self._labels, self._val_labels = loader_at, labels, val_labels
        self._weights, self.deadline = class_weights, deadline
        self._seed, self._progress = seed, progress
        self._adapted: list[nn.Module] = []
        if recipe.tune == "lora":
            lowest = min(phase.freeze_at for phase in phases)
            self._adapted = lora.attach(backbone, lowest, rank=recipe.lora_rank, seed=seed)
        self._optimizer = Optimizer(backbone, recipe, phases)
        self._history = History()
        self._kept = Kept(1 + recipe.soup)
        self._begun: Tensor | None = None
        self._start: State | None = None
        self._checkpoint: Checkpoint | None = None
        self._phase, self._epoch, self._waited = 0, 0, 0
        self._step, self._loss = 0, 0.0
        self._loader_freeze_at: int | None = None
        self._began = monotonic()

    def run(self, *, keep_start: bool, checkpoint: Checkpoint, resume: bool) -> History:
        """Train to the end. `keep_start` lets the state before training win if no epoch is better.
        A phase that is to follow a gain is left out, and all after it, where there was none. None
        is faster than one before it, which was slowed down for a reason.

        Raises: DataError when a loss is not finite, naming the step or epoch and the rate.
        """
        gated = any(phase.when in (GAINED, LOST) for phase in self._phases[1:])
        self._start = weight_averaging.copy(self._backbone.net) if gated else None
        self._checkpoint = checkpoint
        checkpoint.begin()
        self._began = monotonic()
        if resume:
            self._restore(*checkpoint.load())
        elif keep_start or gated:
            found = self._validate(self._phases[0].freeze_at)
            self._begun = found.losses
            if keep_start:
                self._keep(found)
        # Whether a phase is trained was decided before its first epoch, and may look otherwise now.
        begun = self._phase if self._epoch or self._step else 0
        for number in range(self._phase, len(self._phases)):
            if self._history.stopped:
                break
            when = self._phases[number].when if number != begun else ALWAYS
            if when == GAINED and not self._gained():
                self._history.stopped = "the phase before gained nothing beyond its noise"
            elif when != LOST or not self._gained():
                self._run_phase(number)
        if self._kept.candidates:
            best = weight_averaging.soup(self._kept.candidates, self.measure)
            self._backbone.net.load_state_dict(best.state)
            head_layer.rescale(self._backbone.head, best.found.scale)
            self._history.averaged = sorted(best.epochs)
            self._history.scale = best.found.scale
        lora.merge(self._adapted)
        return self._history

    def refit(self) -> bool:
        """Train through the one phase there is without comparing its epochs; whether the time was
        enough. If not, the chain is left in between.

        Raises: DataError as `run` does.
        """
        (phase,), recipe = self._phases, self._recipe
        self._backbone.freeze(
            phase.freeze_at, norm_statistics=recipe.norm_statistics, tune=recipe.tune
        )
        loader = self._loader_at(phase.freeze_at, False)
        while self._epoch < phase.epochs and self._run_epoch(0, phase, loader) is not None:
            self._epoch += 1
        with self._optimizer.averaged():
            state = weight_averaging.copy(self._backbone.net)
        self._backbone.net.load_state_dict(state)
        lora.merge(self._adapted)
        return self._epoch == phase.epochs

    def measure(self, state: State, *, mean: bool = True) -> tuple[Validation, State]:
        """What the validation part says of a state, which is left in the chain, and that state; in
        a mean of states, norm statistics that are trained are measured anew, since those of a mean
        of networks are not the mean of theirs."""
        backbone, recipe = self._backbone, self._recipe
        backbone.net.load_state_dict(state)
        begun = {epoch.phase for epoch in self._history.epochs} or {0}
        freeze_at = min(self._phases[k].freeze_at for k in begun)
        if mean and recipe.norm_statistics == "train":
            norm_statistics.reestimate(
                backbone,
                self._engine,
                self._loader_at(freeze_at, False),
                batch_size=recipe.batch_size,
                seed=self._seed,
                progress=Progress(),
            )
        return self._validate(freeze_at), weight_averaging.copy(backbone.net)

    def _run_phase(self, number: int) -> None:
        self._phase = number  # one that was left out before it is not to be resumed
        rates = [self._phases[epoch.phase].lr for epoch in self._history.epochs]
        phase = replace(self._phases[number], lr=min([*rates, self._phases[number].lr]))
        recipe = self._recipe
        begun = bool(self._epoch or self._step)
        if phase.when == LOST and not begun:
            self._backbone.net.load_state_dict(self._start)
            self._optimizer = Optimizer(self._backbone, recipe, self._phases)
        self._backbone.freeze(
            phase.freeze_at, norm_statistics=recipe.norm_statistics, tune=recipe.tune
        )
        trained = sum(p.numel() for p in self._optimizer.parameters if p.requires_grad)
        self._history.trainable = max(self._history.trainable, trained)
        loader = self._loader_at(phase.freeze_at, False)
        if begun and self._loader_freeze_at not in (None, loader.freeze_at):
            raise otherwise_stored(phase.freeze_at)
        self._loader_freeze_at = loader.freeze_at
        patience = phase.epochs if recipe.patience is None else recipe.patience
        while self._epoch < phase.epochs and self._waited < patience:
            train_loss = self._run_epoch(number, phase, loader)
            if train_loss is None:
                self._history.stopped = "the budget was spent"
                break
            with self._optimizer.averaged():
                found = self._validate(phase.freeze_at)
                if not math.isfinite(found.loss):
                    when = f"after epoch {self._epoch + 1} of phase {number + 1}"
                    raise diverged("validation loss", found.loss, when, phase.lr, phase.lr)
                self._history.epochs.append(
                    Epoch(
                        phase=number,
                        train_loss=train_loss,
                        val_loss=found.loss,
                        val_accuracy=found.accuracy,
                    )
                )
                self._progress.say(
                    f"{self._epoch_name(number)}: training loss {train_loss:.3f}, "
                    f"validation loss {found.loss:.3f}, validation accuracy {found.accuracy:.3f}"
                )
                self._epoch += 1
                self._waited += 1
                self._keep(found)
            self._save()
        self._phase, self._epoch, self._waited = number + 1, 0, 0

    def _run_epoch(self, number: int, phase: TrainPhase, loader: Loader) -> float | None:
        """One pass over the training part; the mean loss, or None if the time was over first."""
        recipe, key = self._recipe, (self._seed, number, self._epoch)
        order = shuffled(len(loader), recipe.batch_size, key=key, lengths=loader.lengths())
        if recipe.imbalance == "sampler":
            order = self._evenly(order, key)
        steps = phase.epochs * len(order)
        own = [distributed.shard(batch, least=self._least) for batch in order]
        with self._progress.task(self._epoch_name(number), len(loader)) as advance:
            advance(sum(map(len, order[: self._step])))
            left = own[self._step :]
            for indices, mine, activations in zip(
                order[self._step :], left, loader.batches(left, key=key), strict=True
            ):
                if self.deadline < math.inf and distributed.any_process(
                    monotonic() > self.deadline
                ):
                    return None
                step = self._epoch * len(order) + self._step
                rate = phase.lr * schedule(step, steps, phase.warmup)
                own_seed = _seed(self._seed, number, step) ^ distributed.rank()
                torch.manual_seed(own_seed)
                mixed = None
                if recipe.mixup or recipe.cutmix:
                    activations, *mixed = mix(
                        activations, (own_seed,), mixup=recipe.mixup, cutmix=recipe.cutmix
                    )
                loss = self._backward(
                    activations, self._labels[mine], mixed, start=loader.freeze_at
                )
                loss = self._gather(loss, self._part(mine, indices))
                self._optimizer.step(rate)
                if not math.isfinite(loss):
                    when = f"at step {step + 1} of phase {number + 1}"
                    raise diverged("loss", loss, when, rate, phase.lr)
                self._loss += loss * len(indices)
                self._step += 1
                self._history.steps += 1
                advance(len(indices))
                if self._step < len(order):
                    self._save(within_epoch=True)
        mean, self._step, self._loss = self._loss / len(loader), 0, 0.0
        return mean

    def _save(self, *, within_epoch: bool = False) -> None:
        checkpoint = self._checkpoint
        if checkpoint and distributed.is_main() and checkpoint.due(within_epoch=within_epoch):
            checkpoint.save(*self._state())

    def _epoch_name(self, number: int) -> str:
        """Of the epoch that a phase is in: the same words over its bar and before its losses."""
        whole = f"epoch {self._epoch + 1} of {self._phases[number].epochs}"
        return whole if len(self._phases) == 1 else f"training phase {number + 1}, {whole}"

    @property
    def _least(self) -> int:
        """Samples that a process takes of a batch, so that norm layers have statistics of them."""
        return 2 if self._recipe.norm_statistics == "train" else 1

    def _part(self, own: np.ndarray, batch: np.ndarray) -> float:
        """The weight of this process's own samples in the mean over a batch; none where it has only
        borrowed them, to take part in the step."""
        if distributed.rank() >= distributed.sharers(batch, least=self._least):
            return 0.0
        weights = self._weights if self._recipe.imbalance == "weights" else self._weights**0
        mine, whole = (weights[self._labels[indices]].sum() for indices in (own, batch))
        return float(mine / whole)

    def _backward(
        self, activations: Activations, labels: Tensor, mixed: Sequence[Any] | None, *, start: int
    ) -> Tensor:
        """The loss of these samples, its gradients left in the parameters. mixed: the order and the
        share by which each is mixed with another."""
        self._backbone.train()
        try:
            with self._engine.autocast():
                logits = self._backbone.logits(self._engine.to_device(activations), start=start)
        except (ValueError, PluginError) as error:
            if len(labels) > 1 or "more than 1 value" not in str(error):
                raise
            raise DataError(
                "a norm layer has nothing to normalise over in a step of a single sample",
                thing="--norm-statistics",
                remedy="--norm-statistics frozen, or more samples and a larger --batch-size",
            ) from error
        loss = loss_of(logits, labels, mixed, recipe=self._recipe, class_weights=self._weights)
        loss.backward()
        return loss.detach()

    def _gather(self, loss: Tensor, part: float) -> float:
        """Sum gradients, moving statistics and loss over the processes, of which this one's samples
        are a `part` by weight; the loss of the whole batch."""
        gradients = [p.grad for p in self._optimizer.parameters if p.grad is not None]
        summed = [loss, *self._backbone.moving_statistics(), *gradients]
        if part != 1.0:
            torch._foreach_mul_(summed, part)
        distributed.all_reduce(*summed)
        return float(loss)

    def _evenly(self, order: list[np.ndarray], key: tuple[int, ...]) -> list[np.ndarray]:
        """As many batches of samples drawn with replacement, so that classes come equally often."""
        rng = np.random.default_rng((*key, 0xE7E))
        share = self._weights[self._labels].numpy()
        drawn = rng.choice(len(share), size=len(share), p=share / share.sum())
        return np.split(drawn, np.cumsum([len(batch) for batch in order])[:-1])

    def _validate(self, freeze_at: int) -> Validation:
        logits = self._engine.logits(
            self._backbone,
            self._loader_at(freeze_at, True),
            batch_size=self._recipe.batch_size,
            progress=Progress(),
        )
        return validate(logits, self._val_labels, self._weights, self._recipe.metric)

    def _gained(self) -> bool:
        losses = [self._begun, self._kept.candidates[0].found.losses]
        return distributed.broadcast(lambda: bool(selection.simplest(losses)[0]))

    def _keep(self, found: Validation) -> None:
        epoch = len(self._history.epochs)
        if self._kept.offer(epoch, found, self._backbone.net):
            self._history.best, self._waited = epoch, 0

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"net.{name}": t for name, t in self._backbone.net.state_dict().items()}
        tensors |= {f"kept.{name}": t for name, t in self._kept.tensors().items()}
        tensors |= {f"optimizer.{name}": t for name, t in self._optimizer.state().items()}
        if self._begun is not None:
            tensors["begun.losses"] = self._begun
        return tensors, {"phase": self._phase, "epoch": self._epoch, "waited": self._waited,
                         "step": self._step, "loss": self._loss, "feed_cut": self._loader_freeze_at,
                         "seconds": monotonic() - self._began,
                         "kept": self._kept.facts(), "history": asdict(self._history)}  # fmt: skip

    def _restore(self, parts: dict[str, State], progress: dict[str, Any]) -> None:
        self._backbone.net.load_state_dict(parts["net"])
        self._kept.restore(parts.get("kept", {}), progress["kept"], self._engine.device)
        self._begun = parts.get("begun", {}).get("losses")
        self._optimizer.restore(parts["optimizer"])
        self._phase, self._epoch = progress["phase"], progress["epoch"]
        self._waited, self._loader_freeze_at = progress["waited"], progress["feed_cut"]
        self._step, self._loss = progress["step"], progress["loss"]
        self._began -= progress.get("seconds", 0.0)
        epochs = [Epoch(**epoch) for epoch in progress["history"].pop("epochs")]
        self._history = History(epochs=epochs, **progress["history"])


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
