"""Text without labels: the source goes on as a language model on the target's own text before
anything is solved or trained (ULMFiT, Howard & Ruder, ACL 2018), and stays what it was where the
labels see no gain."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt import head, processes
from zooadapt.data import ReadOptions, Split, open_texts
from zooadapt.engine import Engine
from zooadapt.errors import DataError, UsageError
from zooadapt.feed import Inputs
from zooadapt.language import LanguageModel, Reading
from zooadapt.model import Model, Source
from zooadapt.progress import Progress
from zooadapt.strategy import Choice

_STEPS, _EPOCHS = 1500, (3, 20)
_RATE, _DECAY = 2e-3, 1 / 2.6
_WINDOW = 256
_EVERY = 10
"""One of so many texts is held out to choose the epoch by."""


def read(location: str, source: Source, test: Split | None, options: ReadOptions) -> list[str]:
    """The unlabelled texts, without those that are in the test part: what is measured there is to
    hold for texts that were not seen.

    Raises: UsageError where the source does not take text or its family is no language model,
    DataError where this network is none or there are too few texts; what `open_texts` raises.
    """
    if source.family.modality != "text":
        raise UsageError(
            f"--unlabelled takes text, and '{source.name}' takes images",
            thing="--unlabelled",
            remedy="leave out --unlabelled",
        )
    source.family.language(source.config)
    found = open_texts(location, options=options)
    known = set(test.digests) if test else set()
    texts = [found.raw(k) for k in range(len(found)) if found.digests[k] not in known]
    if len(texts) < _EVERY:
        raise DataError(
            f"'{location}' holds {len(texts)} texts that are not in the test part, fewer than "
            f"{_EVERY}",
            thing=location,
            remedy="give more text, or leave out --unlabelled",
        )
    return texts


def refine(
    model: Model,
    engine: Engine,
    labelled: Split,
    texts: list[str],
    *,
    kind: str,
    batch_size: int,
    seed: int,
    deadline: float,
    progress: Progress,
) -> Choice:
    """Train the network on as a language model of `texts`, and take that back unless the head that
    is solved on the labelled samples' features has a lower leave-one-out loss by more than the
    paired difference's standard error. The choice, with that fact.

    kind: how the head is solved. deadline: `monotonic()` seconds.
    """
    net = model.chain.net
    source = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    inputs = Inputs(labelled, model.preprocessor, variable_length=True)

    def losses() -> Tensor:
        rows = engine.features(model.chain, inputs, batch_size=batch_size, progress=Progress())
        labels = torch.from_numpy(labelled.labels)
        fit = head.solve(lambda: iter([rows]), labels, len(model.classes), kind=kind, seed=seed)
        return nn.functional.cross_entropy(fit.held_out_logits, labels, reduction="none")

    before = losses()
    order = np.random.default_rng((seed, 0x7E47)).permutation(len(texts))
    held = max(1, len(texts) // _EVERY)
    steps = math.ceil((len(texts) - held) / batch_size) or 1
    reading = Reading(
        epochs=min(max(math.ceil(_STEPS / steps), _EPOCHS[0]), _EPOCHS[1]),
        lr=_RATE,
        window=_WINDOW,
        batch_size=batch_size,
        stage_decay=_DECAY,
    )
    history = LanguageModel(model, engine, seed=seed).train(
        [texts[k] for k in order[held:]],
        [texts[k] for k in order[:held]],
        reading,
        progress=progress,
        deadline=deadline,
    )
    gap = before - losses()
    gain, noise = processes.decided(
        lambda: (float(gap.mean()), float(gap.std() / math.sqrt(len(gap))))
    )
    kept = gain > noise
    if not kept:
        net.load_state_dict(source)
    why = (
        f"from {history.bits[0]:.2f} to {history.bits[history.best]:.2f} bits per symbol of text "
        f"held out; leave-one-out loss of the solved head {float(before.mean()):.3f} without, "
        f"{float(before.mean()) - gain:.3f} with: a gain of {gain:.3f}, standard error {noise:.3f}"
    )
    value = f"language model of {len(texts)} texts, {'kept' if kept else 'not kept'}"
    progress.say(f"{value} ({why})")
    return Choice(what="unlabelled", value=value, why=why)
