"""The one training loop: phases of a strategy over carries, resumable, a function of its seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt import auto, head, processes
from zooadapt.chain import Chain
from zooadapt.checkpoint import Checkpoint
from zooadapt.engine import Engine
from zooadapt.errors import DataError
from zooadapt.family import Carry
from zooadapt.feed import Feed, shuffled
from zooadapt.progress import Progress
from zooadapt.strategy import GAINED, Recipe, TrainPhase


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch ended with."""

    phase: int
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation part at one moment: the loss at the temperature that suits it best, which
    tells epochs apart by what they know and not by how sure they are of it."""

    loss: float
    accuracy: float
    scale: float
    losses: Tensor
    """`(n,)` loss of each sample, at that temperature."""


@dataclass(kw_only=True)
class History:
    """The epochs of a run and which of them was kept (0: the state before the first)."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    best_loss: float | None = None
    best_scale: float = 1.0
    """Temperature factor that the validation part asks for, folded into the head at the end."""
    steps: int = 0
    stopped: str | None = None
    """Why it ended before its last epoch, if it did."""


FeedAt = Callable[[int, bool], Feed]
"""The feed of training (False) or validation (True) carries at a cut."""


class Training:
    """Trains a chain through phases and leaves it at its best epoch by validation loss.

    Everything random is a function of (seed, phase, epoch, step, sample), and the state between two
    epochs is all there is: a resumed run ends in the same bytes as one that was not interrupted.

    Several processes share each batch and sum their gradients, so that a step is what it is with
    one, up to rounding; but dropout is drawn in each, and norm layers whose statistics are trained
    normalise over each one's share, their running statistics being averaged after the step.
    """

    def __init__(
        self,
        chain: Chain,
        engine: Engine,
        phases: Sequence[TrainPhase],
        recipe: Recipe,
        *,
        feed_at: FeedAt,
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
        self._chain, self._engine, self._phases, self._recipe = chain, engine, phases, recipe
        self._feed_at, self._labels, self._val_labels = feed_at, labels, val_labels
        self._weights, self._deadline = class_weights, deadline
        self._seed, self._progress = seed, progress
        self._source = [
            (p, p.detach().clone())
            for name, p in chain.net.named_parameters()
            if recipe.l2sp and chain.stage_of(name) < chain.depth
        ]
        self._optimizer = _optimizer(chain, recipe, phases)
        self._history = History()
        self._best: dict[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}
        self._phase, self._epoch, self._waited = 0, 0, 0

    def run(self, *, keep_start: bool, checkpoint: Checkpoint, resume: bool) -> History:
        """Train to the end. `keep_start` lets the state before training win if no epoch is better.
        A phase that is to follow a gain is left out, and all after it, where there was none.

        Raises: DataError when the loss is not finite, naming the step and the rate.
        """
        gated = any(phase.when == GAINED for phase in self._phases[1:])
        if resume:
            self._restore(*checkpoint.load())
        elif keep_start or gated:
            found = self._validate(self._phases[0].cut)
            self._losses["start"] = found.losses
            if keep_start:
                self._keep(found)
        for number in range(self._phase, len(self._phases)):
            if number and self._phases[number].when == GAINED and not self._gained():
                self._history.stopped = "the phase before gained nothing beyond its noise"
            if not self._history.stopped:
                self._run_phase(number, checkpoint)
        if self._best:
            self._chain.net.load_state_dict(self._best)
            head.rescale(self._chain.head, self._history.best_scale)
        return self._history

    def _run_phase(self, number: int, checkpoint: Checkpoint) -> None:
        phase = self._phases[number]
        recipe = self._recipe
        self._chain.freeze(phase.cut, norm_statistics=recipe.norm_statistics, tune=recipe.tune)
        feed = self._feed_at(phase.cut, False)
        while self._epoch < phase.epochs and self._waited < recipe.patience:
            train_loss = self._run_epoch(number, phase, feed)
            if train_loss is None:
                self._history.stopped = "the budget was spent"
                break
            found = self._validate(phase.cut)
            self._history.epochs.append(
                Epoch(
                    phase=number,
                    train_loss=train_loss,
                    val_loss=found.loss,
                    val_accuracy=found.accuracy,
                )
            )
            self._epoch += 1
            self._waited += 1
            self._keep(found)
            self._progress.say(
                f"epoch {len(self._history.epochs)}: loss {train_loss:.3f}, "
                f"validation {found.loss:.3f}, accuracy {found.accuracy:.3f}"
            )
            if processes.is_main() and checkpoint.due():
                checkpoint.save(*self._state())
        self._phase, self._epoch, self._waited = number + 1, 0, 0

    def _run_epoch(self, number: int, phase: TrainPhase, feed: Feed) -> float | None:
        """One pass over the training part; the mean loss, or None if the time was over first."""
        recipe, key = self._recipe, (self._seed, number, self._epoch)
        order = shuffled(len(feed), recipe.batch_size, key=key, lengths=feed.lengths())
        if recipe.imbalance == "sampler":
            order = self._evenly(order, key)
        steps, total = phase.epochs * len(order), 0.0
        own = [processes.share(batch, least=1) for batch in order]
        what = f"epoch {self._epoch + 1} of {phase.epochs}"
        with self._progress.task(what, len(feed)) as advance:
            for k, (indices, mine, carry) in enumerate(
                zip(order, own, feed.batches(own, key=key), strict=True)
            ):
                if self._deadline < math.inf and processes.anywhere(monotonic() > self._deadline):
                    return None
                step = self._epoch * len(order) + k
                rate = phase.lr * _schedule(step, steps, phase.warmup)
                for group in self._optimizer.param_groups:
                    group["lr"] = group["share"] * rate
                torch.manual_seed(_seed(self._seed, number, step) ^ processes.rank())
                part = self._part(mine, indices)
                loss = self._step(carry, self._labels[mine], part=part, start=feed.cut)
                if not math.isfinite(loss):
                    raise DataError(
                        f"the loss became {loss} at step {step + 1} of phase {number + 1} "
                        f"(rate {rate:.2g})",
                        thing="loss",
                        remedy=f"--lr {phase.lr / 10:.1g}",
                    )
                total += loss * len(indices)
                advance(len(indices))
        self._history.steps += len(order)
        return total / len(feed)

    def _part(self, own: np.ndarray, batch: np.ndarray) -> float:
        """The weight of this process's own samples in the mean over a batch; none where it has only
        borrowed one, to take part in the step."""
        if processes.rank() >= len(batch):
            return 0.0
        weights = self._weights if self._recipe.imbalance == "weights" else self._weights**0
        mine, whole = (weights[self._labels[indices]].sum() for indices in (own, batch))
        return float(mine / whole)

    def _step(self, carry: Carry, labels: Tensor, *, part: float, start: int) -> float:
        """One step of the optimiser on a batch of which these samples are a `part` by weight; the
        loss of the whole batch."""
        self._chain.train()
        with self._engine.autocast():
            logits = self._chain.logits(self._engine.to_device(carry), start=start)
        weights, logits = None, logits.float()
        if self._recipe.imbalance == "weights":
            weights = self._weights.float().to(logits.device)
        elif self._recipe.imbalance == "logit-adjust":
            logits = logits - self._weights.log().float().to(logits.device)
        loss = nn.functional.cross_entropy(
            logits,
            labels.to(logits.device),
            weight=weights,
            label_smoothing=self._recipe.label_smoothing,
        )
        (loss * part).backward()
        trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        moved = [loss.detach(), *self._chain.moving_statistics()]
        for tensor in moved:
            tensor.mul_(part)
        processes.total(*moved, *(p.grad for p in trained if p.grad is not None))
        nn.utils.clip_grad_norm_(trained, self._recipe.clip)
        self._optimizer.step()
        if self._source:
            self._pull_back()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    @torch.no_grad()
    def _pull_back(self) -> None:
        """Decoupled decay towards the source's weights (L2-SP, Li et al. 2018, arXiv 1802.01483),
        for what this step moved."""
        rates = {id(p): group["lr"] for group in self._optimizer.param_groups
                 for p in group["params"]}  # fmt: skip
        for parameter, start in self._source:
            if parameter.grad is not None:
                parameter.lerp_(start, min(1.0, rates[id(parameter)] * self._recipe.l2sp))

    def _evenly(self, order: list[np.ndarray], key: tuple[int, ...]) -> list[np.ndarray]:
        """As many batches of samples drawn with replacement, so that classes come equally often."""
        rng = np.random.default_rng((*key, 0xE7E))
        share = self._weights[self._labels].numpy()
        drawn = rng.choice(len(share), size=len(share), p=share / share.sum())
        return np.split(drawn, np.cumsum([len(batch) for batch in order])[:-1])

    def _validate(self, cut: int) -> Validation:
        logits = self._engine.logits(
            self._chain,
            self._feed_at(cut, True),
            batch_size=self._recipe.batch_size,
            progress=Progress(),
        )
        return validate(logits, self._val_labels, self._weights, self._recipe.metric)

    def _gained(self) -> bool:
        losses = [self._losses["start"], self._losses["best"]]
        return processes.decided(lambda: bool(auto.simplest(losses)[0]))

    def _keep(self, found: Validation) -> None:
        history = self._history
        best = history.best_loss
        if processes.decided(lambda: best is None or found.loss < best):
            history.best_loss, history.best_scale = found.loss, found.scale
            self._losses["best"] = found.losses
            history.best, self._waited = len(history.epochs), 0
            self._best = {k: t.detach().clone() for k, t in self._chain.net.state_dict().items()}

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"net.{name}": t for name, t in self._chain.net.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self._best.items()}
        tensors |= {f"losses.{name}": t for name, t in self._losses.items()}
        for number, slots in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{slot}": t for slot, t in slots.items()
                        if t is not None}  # fmt: skip
        return tensors, {"phase": self._phase, "epoch": self._epoch, "waited": self._waited,
                         "history": asdict(self._history)}  # fmt: skip

    def _restore(self, tensors: Any, progress: dict[str, Any]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"net": {}, "best": {}, "losses": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self._chain.net.load_state_dict(parts["net"])
        self._best = {name: t.to(self._engine.device) for name, t in parts["best"].items()}
        self._losses = parts["losses"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, _, slot = name.partition(".")
            state.setdefault(int(number), {})[slot] = tensor
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": state})
        self._phase, self._epoch = progress["phase"], progress["epoch"]
        self._waited = progress["waited"]
        epochs = [Epoch(**epoch) for epoch in progress["history"].pop("epochs")]
        self._history = History(epochs=epochs, **progress["history"])


def validate(logits: Tensor, labels: Tensor, class_weights: Tensor, metric: str) -> Validation:
    """What `(n, K)` logits say of `(n,)` labels; for balanced accuracy, classes count alike."""
    weights = torch.ones(len(logits), dtype=torch.float64)
    if metric != "accuracy":
        weights = class_weights[labels]
    scale, loss = head.best_scale(logits.double(), labels, weights)
    losses = nn.functional.cross_entropy(scale * logits.double(), labels, reduction="none")
    right = (logits.argmax(1) == labels).float().mean()
    return Validation(
        loss=loss,
        accuracy=float(right),
        scale=scale,
        losses=losses * weights / weights.mean(),
    )


def _optimizer(chain: Chain, recipe: Recipe, phases: Sequence[TrainPhase]) -> torch.optim.Optimizer:
    """Built once for all phases: unfreezing only lets gradients in, and a parameter without one is
    left alone, decay included."""
    groups = chain.parameter_groups(
        stage_decay=recipe.stage_decay,
        weight_decay=0.0 if recipe.l2sp else recipe.weight_decay,
        lowest=min(phase.cut for phase in phases),
    )
    if recipe.optimizer == "sgd":
        for group in groups:
            group["share"] *= 10
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
