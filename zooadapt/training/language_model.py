"""A backbone trained to predict the next symbol of plain text, which needs no labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, in_order
from zooadapt.backbone.pretrained import Model
from zooadapt.errors import DataError
from zooadapt.family import Activations
from zooadapt.runtime import model_files
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.validation import Validation
from zooadapt.training.history import History
from zooadapt.training.loop import Training
from zooadapt.training.objectives import Key, Objective
from zooadapt.training.optimizer import slanted
from zooadapt.training.strategies import Recipe, TrainPhase

_RISE, _BETAS = 0.1, (0.9, 0.99)
_NOISE = 0.01
"""Share of the input symbols that are replaced by random ones (Xie et al. 2017, arXiv 1703.02573):
symbols that the text lacks learn to mean little, and a typing error does not derail a state."""
_LOWER, _UPPER = 0.1, 0.05
"""Shares of the windows that are read in lower case and in capitals."""
_PURPOSE = 0x1A6
_TARGETS, _NO_TARGET = "next symbols", -100


class LanguageModel(Objective):
    """Cross-entropy of each symbol of plain text, given those before it in its window: a model's
    backbone up to its states, and a decoder from them to the next symbol. The decoder is the
    pretrained model's own where it has one, else a new one, a function of the seed."""

    title = "language model"
    schedule = staticmethod(slanted)
    remedy = "leave out bad text, or train a smaller network"

    def __init__(
        self,
        model: Model,
        engine: Engine,
        recipe: Recipe,
        texts: Sequence[str],
        held_out: Sequence[str],
        *,
        window: int,
        vary_case: bool = False,
        seed: int,
        fresh: bool = False,
    ) -> None:
        """window: characters that are read at a time, each time from the start. fresh: the model
        has no weights of its own.

        Raises: UsageError or DataError where the family or this network is no language model.
        """
        super().__init__(model.backbone, engine, recipe)
        self.language = model.source.family.language(model.source.config)
        self.collate, self._seed = model.preprocessor.collate, seed
        self._depth = model.backbone.resolve(self.language.stage) + 1
        tensors = {} if fresh else model_files.read_weights(model.source.origin.folder)
        self._decoder = (self._own_decoder(tensors) or self._new_decoder()).to(engine.device)
        self.net = nn.ModuleList([model.backbone.net, self._decoder])
        self.predictable = np.array([bool(written) for written in self.language.alphabet])
        self.predictable[self._decoder.out_features :] = False
        self._texts, self.window, self.vary_case = texts, window, vary_case
        self._held_out = _Windows(self, held_out)

    def train(
        self, *, epochs: int, lr: float, progress: Progress, deadline: float = math.inf
    ) -> History:
        """Leave backbone and decoder at the best epoch by the held-out texts, the state before the
        first included. lr: peak of the decoder and the last stage before it. deadline:
        `monotonic()` seconds, by which the rate falls to its lowest if not by the last epoch.

        Raises: DataError when the loss is not finite.
        """
        return Training(
            self,
            [TrainPhase(freeze_at=0, epochs=epochs, lr=lr, warmup=_RISE)],
            seed=_seed(self._seed, 2),
            progress=progress,
            deadline=deadline,
            anneal_to_deadline=True,
        ).run(keep_start=True)

    @torch.inference_mode()
    def generate(self, start: str, length: int, *, temperature: float = 0.7) -> str:
        """`length` more symbols after `start`, drawn by the seed."""
        self.backbone.eval()
        drawn = torch.Generator().manual_seed(_seed(self._seed, 1))
        symbols = list(self.language.encode(start))
        for _ in range(length):
            states = self._states(self.collate([self.language.sample(symbols)]))
            logits = self._decoder(states[0, len(symbols) - 1]).cpu() / temperature
            logits[~self.predictable[: len(logits)]] = -math.inf
            symbols.append(int(torch.multinomial(logits.softmax(0), 1, generator=drawn)))
        written = b"".join(self.language.alphabet[symbol] for symbol in symbols)
        return written.decode("utf-8", "replace")

    def decoder_state(self) -> dict[str, Tensor]:
        """The decoder's tensors, under the names by which a pretrained model may have them."""
        name = self.language.decoder
        return {f"{name}.{part}": t for part, t in self._decoder.state_dict().items()}

    def parameter_groups(self, *, lowest: int) -> list[dict[str, Any]]:
        """The decoder has the rate of the last stage that is read."""
        groups, depth = super().parameter_groups(lowest=lowest), self.backbone.depth
        rise = self.recipe.stage_decay ** (depth + 1 - self._depth)
        decoder = {"params": list(self._decoder.parameters()), "weight_decay": 0.0}
        groups.append(decoder | {"share": rise, "stage": depth + 1})
        return [group | {"betas": _BETAS, "share": group["share"] / rise} for group in groups]

    def loader(self, freeze_at: int, key: Key) -> Loader:
        """The texts are cut anew in every epoch. Raises: DataError for texts of one symbol."""
        offset = int(np.random.default_rng(key).integers(self.window))
        windows = _Windows(self, self._texts, offset, varied=True)
        if not len(windows):
            raise DataError(
                "none of the texts has two symbols, so there is no next one to predict",
                thing="text",
                remedy="give longer texts",
            )
        return windows

    def loss(
        self, activations: Activations, indices: np.ndarray, *, start: int, seed: int
    ) -> tuple[Tensor, float]:
        logits, targets = self._logits(activations)
        loss = nn.functional.cross_entropy(logits, targets, reduction="sum")
        return loss / max(len(targets), 1), len(targets)

    @torch.inference_mode()
    def validate(self, freeze_at: int) -> Validation:
        """Its samples are the symbols."""
        self.backbone.eval()
        lengths = self._held_out.lengths()
        order = in_order(len(lengths), self.recipe.batch_size, lengths)
        parts = [torch.zeros(2, 0, dtype=torch.float64, device=self.engine.device)]
        for activations in self._held_out.batches(order):
            logits, targets = self._logits(activations)
            losses = nn.functional.cross_entropy(logits, targets, reduction="none")
            parts.append(torch.stack([losses, logits.argmax(1) == targets]))
        losses, right = torch.cat(parts, 1).cpu()
        loss, accuracy = (float(t.sum()) / max(len(t), 1) for t in (losses, right))
        return Validation(loss=loss, accuracy=accuracy, score=accuracy, scale=1.0, losses=losses)

    def _logits(self, activations: Activations) -> tuple[Tensor, Tensor]:
        """`(n, K)` logits of the `(n,)` symbols that the decoder may name."""
        inputs = dict(activations)
        targets = inputs.pop(_TARGETS).to(self.engine.device)
        inside = targets != _NO_TARGET
        states = self._states(inputs)[:, : targets.shape[1]]
        return self._decoder(states[inside]), targets[inside]

    def _states(self, activations: Activations) -> Tensor:
        """`(N, T, H)` fp32 states, padding at the end, of stage 0's activations."""
        with self.engine.autocast():
            states = self.backbone.run(self.engine.to_device(activations), stop=self._depth)
        return states[self.language.states].float()

    def _new_decoder(self) -> nn.Linear:
        torch.manual_seed(_seed(self._seed, 0))
        symbols = self.language.encode("a") or [0]
        states = self._states(self.collate([self.language.sample(symbols)]))
        return nn.Linear(states.shape[-1], len(self.language.alphabet))

    def _own_decoder(self, tensors: Mapping[str, Tensor]) -> nn.Linear | None:
        name = self.language.decoder
        weight, bias = (tensors.get(f"{name}.{part}") for part in ("weight", "bias"))
        if weight is None or weight.ndim != 2 or len(weight) > len(self.language.alphabet):
            return None
        decoder = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            decoder.weight.copy_(weight)
            decoder.bias.zero_() if bias is None else decoder.bias.copy_(bias)
        return decoder


class _Windows:
    """A `Loader` of texts cut every `model.window` characters, those longer than that first after
    `offset`, with the symbols to predict. Pieces in which there are none are left out."""

    freeze_at = 0

    def __init__(
        self, model: LanguageModel, texts: Sequence[str], offset: int = 0, *, varied: bool = False
    ) -> None:
        """varied: as an epoch sees them, noise and all."""
        self._model, self._varied = model, varied
        pieces = (piece for text in texts for piece in _cut(text, model.window, offset))
        self._pieces = [piece for piece in pieces if len(model.language.encode(piece)) > 1]

    def __len__(self) -> int:
        return len(self._pieces)

    def lengths(self) -> np.ndarray:
        return np.array([len(piece) for piece in self._pieces])

    def batches(
        self, order: Iterable[np.ndarray], *, key: tuple[int, ...] = ()
    ) -> Iterator[Activations]:
        model = self._model
        for indices in order:
            rows = [self._symbols(int(k), np.random.default_rng((*key, int(k)))) for k in indices]
            inputs = [model.language.sample(symbols[:-1].tolist()) for symbols, _ in rows]
            targets = [torch.from_numpy(targets[1:]) for _, targets in rows]
            padded = pad_sequence(targets, batch_first=True, padding_value=_NO_TARGET)
            yield {**model.collate(inputs), _TARGETS: padded}

    def _symbols(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A piece's symbols as they are given, and as they are to be predicted."""
        text, language = self._pieces[index], self._model.language
        if self._varied and self._model.vary_case and (drawn := rng.random()) < _LOWER + _UPPER:
            text = text.lower() if drawn < _LOWER else text.upper()
        symbols = np.array(language.encode(text))
        replaced = rng.random(len(symbols)) < _NOISE * self._varied
        other = rng.integers(len(language.alphabet), size=len(symbols))
        targets = np.where(self._model.predictable[symbols], symbols, _NO_TARGET)
        return np.where(replaced, other, symbols), targets


def bits_per_symbol(history: History) -> list[float]:
    """Of the held-out texts, before training and after each epoch."""
    losses = (history.start or 0.0, *(epoch.val_loss for epoch in history.epochs))
    return [loss / math.log(2) for loss in losses]


def _cut(text: str, size: int, offset: int) -> Iterator[str]:
    starts = [0, *range(offset or size, len(text), size)] if len(text) > size else [0]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[start:end]


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence((*key, _PURPOSE)).generate_state(1, np.uint64)[0])
