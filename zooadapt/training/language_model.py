"""A chain trained to predict the next symbol of plain text, which needs no labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import in_order, shuffled
from zooadapt.backbone.pretrained import Model
from zooadapt.errors import DataError
from zooadapt.runtime import distributed, model_files
from zooadapt.runtime.progress import Progress

_RISE, _RATIO = 0.1, 32
"""Slanted triangular rates (Howard & Ruder, ACL 2018): the share of the steps over which the rate
rises, and the peak's multiple of the lowest one."""
_NOISE = 0.01
"""Share of the input symbols that are replaced by random ones (Xie et al. 2017, arXiv 1703.02573):
symbols that the text lacks learn to mean little, and a typing error does not derail a state."""
_LOWER, _UPPER = 0.1, 0.05
"""Shares of the windows that are read in lower case and in capitals."""
_CLIP = 1.0
_PURPOSE = 0x1A6


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a language model is trained."""

    epochs: int
    lr: float
    """Peak AdamW rate of the decoder and the last stage before it."""
    window: int
    """Characters that are read at a time, each time from the start."""
    batch_size: int = 32
    stage_decay: float = 1.0
    """Factor on the rate per stage towards the input."""
    weight_decay: float = 0.01
    vary_case: bool = False


@dataclass(kw_only=True)
class Progressed:
    """Bits per symbol on the held-out texts before training and after each epoch."""

    bits: list[float] = field(default_factory=list)
    best: int = 0
    steps: int = 0
    stopped: str | None = None
    """Why it ended before its last epoch, if it did."""


class LanguageModel:
    """A model's chain up to its states, and a decoder from them to the next symbol: the source's
    own where it has one, else a new one, a function of the seed."""

    def __init__(self, model: Model, engine: Engine, *, seed: int, fresh: bool = False) -> None:
        """fresh: there are no weights of a source to look into.

        Raises: UsageError or DataError where the family or this network is no language model.
        """
        self.language = model.source.family.language(model.source.config)
        self._backbone, self._engine, self._collate = (
            model.backbone,
            engine,
            model.preprocessor.collate,
        )
        self.freeze_at = model.backbone.resolve(self.language.stage) + 1
        self._seed, self._decoder = seed, None
        if not fresh:
            self._decoder = self._own(model_files.read_weights(model.source.origin.folder))
        if self._decoder is None:
            torch.manual_seed(_seed(seed, 0))
            states, _ = self._states([self.language.encode("a") or [0]])
            self._decoder = nn.Linear(states.shape[-1], len(self.language.alphabet))
        self._decoder.to(engine.device)
        predicted = [bool(written) for written in self.language.alphabet]
        self._predicted = torch.tensor(predicted)[: self._decoder.out_features]

    def decoder_state(self) -> dict[str, Tensor]:
        """The decoder's tensors, under the names by which a source may have them."""
        name = self.language.decoder
        return {f"{name}.{part}": t for part, t in self._decoder.state_dict().items()}

    def train(
        self,
        texts: Sequence[str],
        held_out: Sequence[str],
        reading: Reading,
        *,
        progress: Progress,
        deadline: float = math.inf,
    ) -> Progressed:
        """Train on texts, cut into windows anew in every epoch, and leave chain and decoder at the
        best epoch by the held-out texts, the state before the first included.

        deadline: `monotonic()` seconds. The rate falls to its lowest with the last step or with
        the deadline, whichever comes first; without one the result is a function of the seed.
        Raises: DataError when the loss is not finite.
        """
        history, optimizer = Progressed(), self._optimizer(reading)
        self._backbone.freeze(0)
        started, best = monotonic(), None
        for epoch in range(reading.epochs + 1):
            if epoch and not self._epoch(
                epoch - 1, texts, reading, optimizer, history, started, deadline, progress
            ):
                history.stopped = "the budget was spent"
            history.bits.append(distributed.broadcast(lambda: self.bits(held_out, reading)))
            progress.say(f"language model, epoch {epoch}: {history.bits[-1]:.3f} bits per symbol")
            if epoch == 0 or history.bits[-1] < history.bits[history.best]:
                history.best, best = len(history.bits) - 1, self._copy()
            if history.stopped:
                break
        self._backbone.net.load_state_dict(best[0])
        self._decoder.load_state_dict(best[1])
        self._backbone.eval()
        return history

    @torch.inference_mode()
    def bits(self, texts: Sequence[str], reading: Reading) -> float:
        """Mean bits of a symbol of the texts given those before it in its window."""
        self._backbone.eval()
        windows = self._windows(texts, reading.window, 0)
        total, count = 0.0, 0
        lengths = np.array([len(window) for window in windows])
        for indices in in_order(len(windows), reading.batch_size, lengths):
            loss, seen = self._loss([self._symbols(windows[k]) for k in indices])
            total, count = total + float(loss), count + seen
        return total / max(count, 1) / math.log(2)

    @torch.inference_mode()
    def generate(self, start: str, length: int, *, temperature: float = 0.7) -> str:
        """`length` more symbols after `start`, drawn by the seed."""
        self._backbone.eval()
        drawn = torch.Generator().manual_seed(_seed(self._seed, 1))
        symbols = list(self.language.encode(start))
        for _ in range(length):
            states, _ = self._states([symbols])
            logits = self._decoder(states[0, len(symbols) - 1].float()).cpu() / temperature
            logits[~self._predicted] = -math.inf
            symbols.append(int(torch.multinomial(logits.softmax(0), 1, generator=drawn)))
        written = b"".join(self.language.alphabet[symbol] for symbol in symbols)
        return written.decode("utf-8", "replace")

    def _epoch(
        self,
        epoch: int,
        texts: Sequence[str],
        reading: Reading,
        optimizer: torch.optim.Optimizer,
        history: Progressed,
        started: float,
        deadline: float,
        progress: Progress,
    ) -> bool:
        """One pass over the texts; whether it came to its end before the deadline."""
        key, given = (self._seed, _PURPOSE, epoch), deadline - started
        rng = np.random.default_rng(key)
        windows = self._windows(texts, reading.window, int(rng.integers(reading.window)))
        lengths = np.array([len(window) for window in windows])
        order = shuffled(len(windows), reading.batch_size, key=key, lengths=lengths)
        what = f"language model, epoch {epoch + 1} of {reading.epochs}"
        with progress.task(what, len(windows)) as advance:
            for k, indices in enumerate(order):
                done = (epoch + k / len(order)) / reading.epochs
                if deadline < math.inf:
                    spent = distributed.broadcast(lambda: (monotonic() - started) / given)
                    if spent > 1:
                        return False
                    done = max(done, spent)
                for group in optimizer.param_groups:
                    group["lr"] = group["share"] * reading.lr * _slanted(done)
                batch = [self._varied(windows[i], (*key, int(i)), reading) for i in indices]
                torch.manual_seed(_seed(*key, k) ^ distributed.rank())
                self._step(batch, optimizer, history.steps)
                history.steps += 1
                advance(len(indices))
        return True

    def _step(
        self, batch: list[tuple[list[int], list[int]]], optimizer: torch.optim.Optimizer, step: int
    ) -> None:
        self._backbone.train()
        seen = sum(int(self._target(wanted)[1].sum()) for _, wanted in batch)
        own = distributed.shard(batch)
        part = 1.0 if own else 0.0
        given, wanted = zip(*(own or batch[:1]), strict=True)
        loss = part * self._loss(given, wanted)[0] / max(seen, 1)
        loss.backward()
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        loss = loss.detach()
        distributed.all_reduce(loss, *(p.grad for p in trained if p.grad is not None))
        if not math.isfinite(float(loss)):
            raise DataError(
                f"the language model's loss became {float(loss)} at step {step + 1}",
                thing="loss",
                remedy="leave out bad text, or train a smaller network",
            )
        nn.utils.clip_grad_norm_(trained, _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _loss(
        self, given: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, int]:
        """Summed nats of each symbol of `wanted` after those of `given` before it, and how many
        symbols were predicted."""
        states, inside = self._states([symbols[:-1] for symbols in given])
        targets, counts = zip(*map(self._target, wanted or given), strict=True)
        target, counts = torch.cat(targets), torch.cat(counts)
        target = torch.where(counts, target, -100).to(self._engine.device)
        logits = self._decoder(states[inside].float())
        loss = nn.functional.cross_entropy(logits, target, ignore_index=-100, reduction="sum")
        return loss, int(counts.sum())

    def _target(self, symbols: Sequence[int]) -> tuple[Tensor, Tensor]:
        """All symbols but the first, and which of them can be predicted."""
        target = torch.tensor(symbols[1:])
        known = target < len(self._predicted)
        return target, known & self._predicted[target.clamp_max(len(self._predicted) - 1)]

    def _states(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """`(N, T, H)` states of rows of symbols, and which of them are no padding, `(N, T)`."""
        activations = self._engine.to_device(
            self._collate([self.language.sample(row) for row in rows])
        )
        with self._engine.autocast():
            states = self._backbone.run(activations, stop=self.freeze_at)[self.language.states]
        lengths = torch.tensor([len(row) for row in rows], device=states.device)
        return states, torch.arange(states.shape[1], device=states.device) < lengths[:, None]

    def _windows(self, texts: Sequence[str], size: int, offset: int) -> list[str]:
        """The texts cut every `size` characters, those longer than that first after `offset`, and
        without pieces in which there is nothing to predict."""
        pieces = (piece for text in texts for piece in _cut(text, size, offset))
        return [piece for piece in pieces if len(self._symbols(piece)) > 1]

    def _symbols(self, text: str) -> Sequence[int]:
        return self.language.encode(text)

    def _varied(
        self, text: str, key: tuple[int, ...], reading: Reading
    ) -> tuple[list[int], list[int]]:
        """A window's symbols as they are given, noise and all, and as they are to be predicted."""
        rng = np.random.default_rng(key)
        if reading.vary_case:
            drawn = rng.random()
            if drawn < _LOWER + _UPPER:
                text = text.lower() if drawn < _LOWER else text.upper()
        wanted = np.array(self._symbols(text))
        noise = rng.random(len(wanted)) < _NOISE
        other = rng.integers(len(self.language.alphabet), size=len(wanted))
        return np.where(noise, other, wanted).tolist(), wanted.tolist()

    def _optimizer(self, reading: Reading) -> torch.optim.Optimizer:
        groups = [
            group | {"share": reading.stage_decay ** (self.freeze_at - 1 - group["stage"])}
            for group in self._backbone.parameter_groups(
                stage_decay=1.0, weight_decay=reading.weight_decay, lowest=0
            )
            if group["stage"] < self.freeze_at
        ]
        decoder = {"params": list(self._decoder.parameters()), "share": 1.0, "weight_decay": 0.0}
        return torch.optim.AdamW([*groups, decoder], betas=(0.9, 0.99))

    def _own(self, state: Any) -> nn.Linear | None:
        weight, bias = (state.get(f"{self.language.decoder}.{part}") for part in ("weight", "bias"))
        if weight is None or weight.ndim != 2 or len(weight) > len(self.language.alphabet):
            return None
        decoder = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            decoder.weight.copy_(weight)
            decoder.bias.zero_() if bias is None else decoder.bias.copy_(bias)
        return decoder

    def _copy(self) -> list[dict[str, Tensor]]:
        return [
            {name: t.detach().clone() for name, t in module.state_dict().items()}
            for module in (self._backbone.net, self._decoder)
        ]


def _cut(text: str, size: int, offset: int) -> Iterator[str]:
    starts = [0, *range(offset or size, len(text), size)] if len(text) > size else [0]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[start:end]


def _slanted(done: float) -> float:
    """The rate as a share of the peak when `done` of the steps are."""
    p = done / _RISE if done < _RISE else max(0.0, (1 - done) / (1 - _RISE))
    return (1 + p * (_RATIO - 1)) / _RATIO


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence((*key, _PURPOSE)).generate_state(1, np.uint64)[0])
