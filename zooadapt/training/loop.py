"""The one training loop: phases of an objective, resumable, a function of its seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone import head_layer
from zooadapt.errors import DataError
from zooadapt.heads import selection
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.validation import Validation
from zooadapt.training import lora, norm_statistics, weight_averaging
from zooadapt.training.checkpoint import Checkpoint, otherwise_stored
from zooadapt.training.history import Epoch, History
from zooadapt.training.objectives import Objective
from zooadapt.training.optimizer import Optimizer
from zooadapt.training.strategies import ALWAYS, GAINED, LOST, TrainPhase
from zooadapt.training.weight_averaging import BestStates, State


class Training:
    """Trains a network through phases and leaves it at its best epoch by validation loss.

    Everything random is a function of (seed, phase, epoch, step, sample), and the state between two
    steps is all there is: a resumed run ends in the same bytes as one that was not interrupted.

    Several processes share each batch and average their gradients: a step equals that of one up to
    rounding, except that each draws its own dropout and normalises over its own samples.
    """

    def __init__(
        self,
        objective: Objective,
        phases: Sequence[TrainPhase],
        *,
        seed: int,
        progress: Progress,
        deadline: float = math.inf,
        anneal_to_deadline: bool = False,
    ) -> None:
        """deadline: `time.monotonic()` seconds, after which no step begins. anneal_to_deadline: the
        rate reaches its end by then, and the epoch that the deadline ends is compared like others.
        """
        self._objective, self._backbone = objective, objective.backbone
        self._phases, self._recipe, self._seed = phases, objective.recipe, seed
        self._progress, self.deadline, self._anneal = progress, deadline, anneal_to_deadline
        self._lora_modules: list[nn.Module] = []
        self._lowest, recipe = min(phase.freeze_at for phase in phases), self._recipe
        if recipe.tune == "lora":
            self._lora_modules = lora.attach(
                self._backbone, self._lowest, rank=recipe.lora_rank, seed=seed
            )
        self._optimizer = self._new_optimizer()
        self._least = 2 if recipe.norm_statistics == "train" else 1
        """Samples that a process takes of a batch, so that norm layers have statistics of them."""
        self._history = History()
        self._best = BestStates(1 + recipe.soup)
        self._start_losses = torch.zeros(0)
        self._start_state: State = {}
        self._checkpoint: Checkpoint | None = None
        self._phase, self._epoch, self._waited = 0, 0, 0
        self._step, self._loss = 0, 0.0
        self._loader_freeze_at: int | None = None
        self._started = monotonic()

    def run(
        self, *, keep_start: bool, checkpoint: Checkpoint | None = None, resume: bool = False
    ) -> History:
        """Train to the end. `keep_start` lets the state before training win if no epoch is better.
        Without a gain, the phase that is to follow one is left out, and all after it. No phase has
        a higher rate than one before it.

        Raises: DataError when a loss is not finite, naming the step or epoch and the rate.
        """
        gated = any(phase.when in (GAINED, LOST) for phase in self._phases[1:])
        if gated:
            self._start_state = weight_averaging.copy(self._objective.net)
        self._checkpoint = checkpoint
        if checkpoint:
            checkpoint.begin()
        self._started = monotonic()
        if checkpoint and resume:
            self._restore(*checkpoint.load())
        elif keep_start or gated:
            validation = self._objective.validate(self._phases[0].freeze_at)
            self._start_losses, self._history.start = validation.losses, validation.loss
            if keep_start:
                self._offer(validation)
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
        if self._best.candidates:
            best = weight_averaging.soup(self._best.candidates, self.measure)
            self._objective.net.load_state_dict(best.state)
            head_layer.rescale(self._backbone.head, best.validation.scale)
            self._history.averaged = sorted(best.epochs)
            self._history.scale = best.validation.scale
        lora.merge(self._lora_modules)
        return self._history

    def refit(self) -> bool:
        """Train through the one phase there is without comparing its epochs; whether the time was
        enough. If not, the network is left in between.

        Raises: DataError as `run` does.
        """
        (phase,) = self._phases
        self._freeze(phase)
        while self._epoch < phase.epochs and self._run_epoch(phase)[1]:
            self._epoch += 1
        with self._optimizer.averaged():
            state = weight_averaging.copy(self._objective.net)
        self._objective.net.load_state_dict(state)
        lora.merge(self._lora_modules)
        return self._epoch == phase.epochs

    def measure(self, state: State, *, mean: bool = True) -> tuple[Validation, State]:
        """What the validation part says of a state, which is left in the network, and that state;
        in a mean of states, norm statistics that are trained are measured anew, since those of a
        mean of networks are not the mean of theirs."""
        objective, recipe = self._objective, self._recipe
        objective.net.load_state_dict(state)
        begun = {epoch.phase for epoch in self._history.epochs} or {0}
        freeze_at = min(self._phases[k].freeze_at for k in begun)
        if mean and recipe.norm_statistics == "train":
            norm_statistics.reestimate(
                self._backbone,
                objective.engine,
                objective.loader(freeze_at, (self._seed,)),
                batch_size=recipe.batch_size,
                seed=self._seed,
                progress=Progress(),
            )
        return objective.validate(freeze_at), weight_averaging.copy(objective.net)

    def _run_phase(self, number: int) -> None:
        self._phase = number  # one that was left out before it is not to be resumed
        rates = [self._phases[epoch.phase].lr for epoch in self._history.epochs]
        phase = replace(self._phases[number], lr=min([*rates, self._phases[number].lr]))
        if phase.when == LOST and not (self._epoch or self._step):
            self._objective.net.load_state_dict(self._start_state)
            self._optimizer = self._new_optimizer()
        self._freeze(phase)
        trained = sum(p.numel() for p in self._optimizer.parameters if p.requires_grad)
        self._history.trainable = max(self._history.trainable, trained)
        patience = phase.epochs if self._recipe.patience is None else self._recipe.patience
        in_time = True
        while in_time and self._epoch < phase.epochs and self._waited < patience:
            train_loss, in_time = self._run_epoch(phase)
            if in_time or self._anneal:
                with self._optimizer.averaged():
                    self._compare(phase, train_loss)
                self._save()
        if not in_time:
            self._history.stopped = "the budget was spent"
        self._phase, self._epoch, self._waited = number + 1, 0, 0
        self._loader_freeze_at = None

    def _compare(self, phase: TrainPhase, train_loss: float) -> None:
        """Validate after an epoch, and keep the state if it is among the best."""
        validation = self._objective.validate(phase.freeze_at)
        loss, accuracy = validation.loss, validation.accuracy
        when = f"after epoch {self._epoch + 1}"
        self._require_finite("validation loss", loss, when, phase.lr, phase)
        losses = {"train_loss": train_loss, "val_loss": loss}
        self._history.epochs.append(Epoch(phase=self._phase, **losses, val_accuracy=accuracy))
        self._progress.say(
            f"{self._epoch_name}: training loss {train_loss:.3f}, validation loss {loss:.3f}, "
            f"validation {self._objective.figure} {accuracy:.3f}"
        )
        self._epoch += 1
        self._waited += 1
        self._offer(validation)

    def _run_epoch(self, phase: TrainPhase) -> tuple[float, bool]:
        """One pass over the training part, or as much of it as the time allows: the mean loss, and
        whether the pass came to its end."""
        objective, key = self._objective, (self._seed, self._phase, self._epoch)
        loader = objective.loader(phase.freeze_at, key)
        if self._loader_freeze_at not in (None, loader.freeze_at):
            raise otherwise_stored(phase.freeze_at)
        self._loader_freeze_at = loader.freeze_at
        order = objective.order(loader, key)
        samples, steps = sum(map(len, order[: self._step])), phase.epochs * len(order)
        left = order[self._step :]
        own = [distributed.shard(batch, least=self._least) for batch in left]
        in_time = True
        with self._progress.task(self._epoch_name, len(loader)) as advance:
            advance(samples)
            batches = zip(left, own, loader.batches(own, key=key), strict=True)
            for indices, mine, activations in batches:
                spent = self._spent()
                if spent >= 1:
                    in_time = False
                    break
                step = self._epoch * len(order) + self._step
                done = max(step, spent * steps) if self._anneal else step
                rate = phase.lr * objective.schedule(done, steps, phase.warmup)
                seed = _seed(self._seed, self._phase, step) ^ distributed.rank()
                torch.manual_seed(seed)
                self._backbone.train()
                loss, weight = objective.loss(activations, mine, start=loader.freeze_at, seed=seed)
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own lacks types
                if distributed.rank() >= distributed.sharers(indices, least=self._least):
                    weight = 0.0  # samples borrowed of another process, to take part in the step
                mean = self._all_reduce(loss.detach(), weight)
                self._optimizer.step(rate)
                self._require_finite("loss", mean, f"at step {step + 1}", rate, phase)
                self._loss += mean * len(indices)
                samples += len(indices)
                self._step += 1
                self._history.steps += 1
                advance(len(indices))
                if self._step < len(order):
                    self._save(within_epoch=True)
        train_loss, self._step, self._loss = self._loss / max(samples, 1), 0, 0.0
        return train_loss, in_time

    def _spent(self) -> float:
        """Share of the time until the deadline that is over, by the main process's clock."""
        if self.deadline == math.inf:
            return 0.0
        left, whole = self.deadline - monotonic(), self.deadline - self._started
        return distributed.broadcast(lambda: 1 - left / whole if left > 0 else 1.0)

    def _all_reduce(self, loss: Tensor, weight: float) -> float:
        """Average gradients, moving statistics and loss over the processes, of which this one's
        samples have that weight; the loss of the whole batch."""
        total = torch.tensor(weight, dtype=torch.float64)
        distributed.all_reduce(total)
        gradients = [p.grad for p in self._optimizer.parameters if p.grad is not None]
        summed = [loss, *self._backbone.moving_statistics(), *gradients]
        if weight != float(total):
            torch._foreach_mul_(summed, weight / float(total))
        distributed.all_reduce(*summed)
        return float(loss)

    def _new_optimizer(self) -> Optimizer:
        return Optimizer(self._objective.parameter_groups(lowest=self._lowest), self._recipe)

    def _freeze(self, phase: TrainPhase) -> None:
        recipe = self._recipe
        self._backbone.freeze(
            phase.freeze_at, norm_statistics=recipe.norm_statistics, tune=recipe.tune
        )

    def _require_finite(
        self, what: str, loss: float, when: str, rate: float, phase: TrainPhase
    ) -> None:
        if not math.isfinite(loss):
            what = f"{self._objective.title} {what}".strip()
            raise DataError(
                f"the {what} became {loss} {when} of phase {self._phase + 1} (rate {rate:.2g})",
                thing="loss",
                remedy=self._objective.remedy.format(lower_rate=phase.lr / 10),
            )

    @property
    def _epoch_name(self) -> str:
        """Of the epoch that a phase is in: the same words over its bar and before its losses."""
        epoch = f"epoch {self._epoch + 1} of {self._phases[self._phase].epochs}"
        phase = f"training phase {self._phase + 1}" if len(self._phases) > 1 else ""
        return ", ".join(filter(None, (self._objective.title, phase, epoch)))

    def _gained(self) -> bool:
        losses = [self._start_losses, self._best.candidates[0].validation.losses]
        return distributed.broadcast(lambda: bool(selection.simplest(losses)[0]))

    def _offer(self, validation: Validation) -> None:
        epoch = len(self._history.epochs)
        if self._best.offer(epoch, validation, self._objective.net):
            self._history.best, self._waited = epoch, 0

    def _save(self, *, within_epoch: bool = False) -> None:
        checkpoint = self._checkpoint
        if checkpoint and distributed.is_main() and checkpoint.due(within_epoch=within_epoch):
            checkpoint.save(*self._state())

    def _state(self) -> tuple[State, dict[str, Any]]:
        tensors = {f"net.{name}": t for name, t in self._objective.net.state_dict().items()}
        tensors |= {f"kept.{name}": t for name, t in self._best.tensors().items()}
        tensors |= {f"optimizer.{name}": t for name, t in self._optimizer.state().items()}
        if len(self._start_losses):
            tensors["begun.losses"] = self._start_losses
        return tensors, {"phase": self._phase, "epoch": self._epoch, "waited": self._waited,
                         "step": self._step, "loss": self._loss, "feed_cut": self._loader_freeze_at,
                         "seconds": monotonic() - self._started,
                         "kept": self._best.facts(), "history": asdict(self._history)}  # fmt: skip

    def _restore(self, parts: dict[str, State], progress: dict[str, Any]) -> None:
        self._objective.net.load_state_dict(parts["net"])
        self._best.restore(parts.get("kept", {}), progress["kept"], self._objective.engine.device)
        self._start_losses = parts.get("begun", {}).get("losses", self._start_losses)
        self._optimizer.restore(parts["optimizer"])
        self._phase, self._epoch = progress["phase"], progress["epoch"]
        self._waited, self._loader_freeze_at = progress["waited"], progress["feed_cut"]
        self._step, self._loss = progress["step"], progress["loss"]
        self._started -= progress.get("seconds", 0.0)
        epochs = [Epoch(**epoch) for epoch in progress["history"].pop("epochs")]
        self._history = History(epochs=epochs, **progress["history"])


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
