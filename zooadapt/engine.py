"""One loop: carries in, features, logits or a trained chain out, on whatever devices there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from zooadapt.chain import Chain
from zooadapt.errors import DataError
from zooadapt.family import Carry
from zooadapt.feed import Feed, in_order, shuffled
from zooadapt.progress import Progress
from zooadapt.ridge import Rows
from zooadapt.strategy import Recipe, TrainPhase


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch ended with."""

    phase: int
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass
class History:
    """The epochs of a run and which of them was kept (0: the state before the first)."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    steps: int = 0


_ROWS = 4096


def default_device() -> torch.device:
    """The device that `accelerate` gives this process."""
    return PartialState().device


class Engine:
    """Runs chains on the device, precision and processes that `accelerate` was given."""

    def __init__(self, *, precision: str, channels_last: bool) -> None:
        self.accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no")
        self.device = self.accelerator.device
        self.precision = precision
        self.channels_last = channels_last

    def place(self, chain: Chain) -> Chain:
        """Move the network to the device, in the memory layout that suits it."""
        chain.net.to(self.device)
        if self.channels_last:
            chain.net.to(memory_format=torch.channels_last)
        return chain

    @torch.inference_mode()
    def carries(
        self,
        chain: Chain,
        feed: Feed,
        *,
        stops: Sequence[int],
        batch_size: int,
        progress: Progress,
        what: str,
        only: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, dict[int, Carry]]]:
        """Every sample's carries at each of the cuts `stops`, in one pass, on the CPU and in the
        precision they were computed in, with the samples' indices; batches come in order of length.
        `only` leaves out other samples. In eval mode, so nothing of the network moves."""
        chain.eval()
        wanted = np.arange(len(feed)) if only is None else only
        lengths = feed.lengths()
        order = [
            wanted[k]
            for k in in_order(len(wanted), batch_size, None if lengths is None else lengths[wanted])
        ]
        with progress.task(what, len(wanted)) as advance:
            for indices, carry in zip(order, feed.batches(order), strict=True):
                carry, at, found = self._to_device(carry), feed.cut, {}
                with self.accelerator.autocast():
                    for stop in sorted(stops):
                        carry, at = chain.run(carry, start=at, stop=stop), stop
                        found[stop] = {name: t.cpu() for name, t in carry.items()}
                yield indices, found
                advance(len(indices))

    def features(
        self,
        chain: Chain,
        feed: Feed,
        *,
        batch_size: int,
        progress: Progress,
        what: str = "features",
    ) -> Tensor:
        """`(n, D)` fp32 features on the CPU, in the order of the samples."""
        out: Tensor | None = None
        for indices, found in self.carries(
            chain, feed, stops=[chain.depth], batch_size=batch_size, progress=progress, what=what
        ):
            rows = found[chain.depth]["features"].float()
            if out is None:
                out = torch.empty(len(feed), rows.shape[1])
            out[indices] = rows
        return out if out is not None else torch.empty(0, 0)

    def feature_rows(
        self, chain: Chain, feed: Feed, *, batch_size: int, progress: Progress
    ) -> Rows:
        """`(n, D)` features in chunks, in the order of the samples, as often as asked for: stored
        ones are read anew each time, others are computed once and kept."""
        if feed.cut == chain.depth:
            chunks = in_order(len(feed), _ROWS)
            return lambda: (carry["features"].float() for carry in feed.batches(chunks))
        features = self.features(chain, feed, batch_size=batch_size, progress=progress)
        return lambda: iter(features.split(_ROWS))

    def logits(
        self,
        chain: Chain,
        feed: Feed,
        *,
        batch_size: int,
        progress: Progress,
        what: str = "evaluating",
    ) -> Tensor:
        """`(n, K)` fp32 logits on the CPU, in the order of the samples. The head runs in fp32."""
        features = self.features(chain, feed, batch_size=batch_size, progress=progress, what=what)
        return self.head_logits(chain, features)

    @torch.inference_mode()
    def head_logits(self, chain: Chain, features: Tensor) -> Tensor:
        """`(n, K)` fp32 logits of the head alone, on the CPU, from `(n, D)` features."""
        weight = chain.head.weight.detach().cpu().float().flatten(1)
        bias = chain.head.bias
        return nn.functional.linear(
            features, weight, None if bias is None else bias.detach().cpu().float()
        )

    def fit(
        self,
        chain: Chain,
        phases: Sequence[TrainPhase],
        recipe: Recipe,
        *,
        feed_at: Callable[[int, bool], Feed],
        labels: Tensor,
        val_labels: Tensor,
        seed: int,
        keep_start: bool,
        progress: Progress,
    ) -> History:
        """Train through the phases and leave the chain with its best epoch by validation loss.

        `feed_at(cut, held_out)` gives the training or validation carries at a cut; labels are
        `(n,)` int64. `keep_start` lets the state before training win, if no epoch is better.
        Everything random is a function of (seed, phase, epoch, step, sample).
        Raises: DataError when the loss is not finite, naming the step and the rate.
        """
        optimizer = self._optimizer(chain, recipe, phases)
        history = History()
        best_loss, best_state = math.inf, None
        if keep_start:
            feed = feed_at(phases[0].cut, True)
            best_loss, _ = self._validate(chain, feed, val_labels, recipe, progress)
            best_state = _snapshot(chain)
        for number, phase in enumerate(phases):
            chain.freeze(phase.cut, norm_statistics=recipe.norm_statistics)
            feed, held_out = feed_at(phase.cut, False), feed_at(phase.cut, True)
            lengths, waited = feed.lengths(), 0
            steps = phase.epochs * math.ceil(len(feed) / recipe.batch_size)
            step = 0
            for epoch in range(phase.epochs):
                key = (seed, number, epoch)
                order = shuffled(len(feed), recipe.batch_size, key=key, lengths=lengths)
                total = 0.0
                with progress.task(f"epoch {epoch + 1}/{phase.epochs}", len(feed)) as advance:
                    for indices, carry in zip(order, feed.batches(order, key=key), strict=True):
                        rate = _schedule(step, steps, phase.warmup)
                        for group in optimizer.param_groups:
                            group["lr"] = group["share"] * phase.lr * rate
                        torch.manual_seed(_seed(seed, number, step))
                        loss = self._step(
                            chain, carry, labels[indices], optimizer, recipe, start=feed.cut
                        )
                        if not math.isfinite(loss):
                            raise DataError(
                                f"the loss became {loss} at step {step + 1} of phase {number + 1} "
                                f"(rate {phase.lr * rate:.2g})",
                                thing="loss",
                                remedy=f"--lr {phase.lr / 10:.1g}",
                            )
                        total += loss * len(indices)
                        step += 1
                        advance(len(indices))
                history.steps += len(order)
                loss, accuracy = self._validate(chain, held_out, val_labels, recipe, progress)
                history.epochs.append(
                    Epoch(
                        phase=number,
                        epoch=epoch,
                        train_loss=total / len(feed),
                        val_loss=loss,
                        val_accuracy=accuracy,
                    )
                )
                progress.say(
                    f"epoch {len(history.epochs)}: loss {total / len(feed):.3f}, "
                    f"validation {loss:.3f}, accuracy {accuracy:.3f}"
                )
                waited += 1
                if loss < best_loss:
                    best_loss, best_state, waited = loss, _snapshot(chain), 0
                    history.best = len(history.epochs)
                elif waited >= recipe.patience:
                    break
        if best_state is not None:
            chain.net.load_state_dict(best_state)
        return history

    def _step(
        self,
        chain: Chain,
        carry: Carry,
        labels: Tensor,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        start: int,
    ) -> float:
        chain.train()
        with self.accelerator.autocast():
            logits = chain.logits(self._to_device(carry), start=start)
        loss = nn.functional.cross_entropy(
            logits.float(), labels.to(self.device), label_smoothing=recipe.label_smoothing
        )
        self.accelerator.backward(loss)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(trained, recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _validate(
        self, chain: Chain, feed: Feed, labels: Tensor, recipe: Recipe, progress: Progress
    ) -> tuple[float, float]:
        logits = self.logits(chain, feed, batch_size=recipe.batch_size, progress=Progress())
        loss = nn.functional.cross_entropy(logits, labels)
        return float(loss), float((logits.argmax(1) == labels).float().mean())

    def _optimizer(
        self, chain: Chain, recipe: Recipe, phases: Sequence[TrainPhase]
    ) -> torch.optim.Optimizer:
        groups = chain.parameter_groups(
            lr=1.0,
            stage_decay=recipe.stage_decay,
            weight_decay=recipe.weight_decay,
            lowest=min(phase.cut for phase in phases),
        )
        for group in groups:
            group["share"] = group["lr"] * (10 if recipe.optimizer == "sgd" else 1)
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        return torch.optim.AdamW(groups)

    def _to_device(self, carry: Carry) -> Carry:
        placed = {name: tensor.to(self.device) for name, tensor in carry.items()}
        if self.channels_last:
            placed = {
                name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
                for name, t in placed.items()
            }
        return placed


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def _snapshot(chain: Chain) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in chain.net.state_dict().items()}


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
