"""Unlabelled samples of the target adapt the pretrained model before any head is fitted. The result
is kept only where it improves the linear probe on the labelled samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import Model
from zooadapt.data import ReadOptions, Split, modalities, open_inputs, open_texts
from zooadapt.errors import DataError
from zooadapt.heads import fitting, selection
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.training import norm_statistics, weight_averaging
from zooadapt.training.cost_model import Costs
from zooadapt.training.language_model import LanguageModel, bits_per_symbol
from zooadapt.training.strategies import Recipe
from zooadapt.zoo.sources import Source

_STEPS, _EPOCHS = 1500, (3, 20)
_RATE, _DECAY = 2e-3, 1 / 2.6
_WINDOW = 256
_EVERY = 10
"""One of so many texts is held out to choose the epoch by."""
_TRIED = 8
"""Batches of texts whose training is timed for a plan."""
_SHARES = (0.5, 1.0)
"""How far the statistics of norm layers may go from the pretrained model's to the target's."""


def read(location: str, source: Source, test: Split | None, options: ReadOptions) -> Split:
    """The unlabelled samples, without those that are in the test part.

    Raises: UsageError where the model is for text and its family is no language model, DataError
    where this network is none or there are too few samples; what `open_texts` or `open_inputs`
    raises.
    """
    if modalities.named(source.family.modality).is_language:
        source.family.language(source.config)
        samples = open_texts(location, options=options)
    else:
        samples = open_inputs([location], modality=source.family.modality, options=options)
    samples = others(samples, [test] if test else [])
    if len(samples) < _EVERY:
        raise DataError(
            f"'{location}' holds {len(samples)} samples that are not in the test part, fewer than "
            f"{_EVERY}",
            thing=location,
            remedy="give more of them, or leave out --unlabelled",
        )
    return samples


def others(target: Split, parts: Iterable[Split]) -> Split:
    """The samples of the target that are in none of these parts."""
    known = {digest for part in parts for digest in part.digests}
    new = [k for k, digest in enumerate(target.digests) if digest not in known]
    return target.subset(np.array(new))


def refine(
    model: Model,
    engine: Engine,
    labelled: Split,
    target: Split,
    *,
    kind: str,
    batch_size: int,
    seed: int,
    deadline: float,
    progress: Progress,
) -> Choice:
    """Adapt the network to the target's samples, and undo that unless the leave-one-out loss of the
    linear probe on the labelled samples falls by more than its noise. The choice, with that fact.

    Texts train it on as a language model (ULMFiT, Howard & Ruder, ACL 2018). Images give its batch
    norms new statistics, or such as lie half-way (AdaBN, Li et al. 2016, arXiv 1603.04779; the mean
    with the pretrained model's: Schneider et al. 2020, arXiv 2006.16971).
    kind: how the head is fitted. deadline: `monotonic()` seconds.
    """
    net = model.backbone.net
    start = weight_averaging.copy(net)
    inputs = Inputs(
        labelled,
        model.preprocessor,
        view=model.view,
        variable_length=model.source.family.can.variable_length,
    )

    def losses() -> Tensor:
        rows = engine.features(model.backbone, inputs, batch_size=batch_size, progress=Progress())
        labels = torch.from_numpy(labelled.labels)
        fit = fitting.fit_head(lambda: iter([rows]), labels, model.task, kind=kind, seed=seed)
        return model.task.losses(fit.held_out_logits, labels)

    measured, states = [losses()], [start]
    if target.kind.is_language:
        what, fact = _train_on(model, engine, target, batch_size, seed, deadline, progress)
        states.append(weight_averaging.copy(net))
        measured.append(losses())
    else:
        what, fact = _reestimate(model, engine, target, batch_size, seed, progress)
        adapted = weight_averaging.copy(net)
        for share in _SHARES if fact else ():
            states.append(weight_averaging.blend(start, adapted, share))
            net.load_state_dict(states[-1])
            measured.append(losses())
    best, gain, noise = distributed.broadcast(lambda: selection.simplest(measured))
    net.load_state_dict(states[best])
    sign = "less" if gain > 0 else "more"
    why = (
        f"{fact or 'it has no batch norms'}; leave-one-out loss of the linear probe "
        f"{float(measured[0].mean()):.3f} without, {abs(gain):.3f} {sign} with, standard error "
        f"{noise:.3f}"
    )
    value = f"{what}, {'kept' if best else 'not kept'}"
    progress.say(f"{value} ({why})")
    return Choice(what="unlabelled", value=value, why=why)


def seconds(
    model: Model, engine: Engine, labelled: Split, target: Split, costs: Costs, *, batch_size: int
) -> float:
    """What `refine` takes without a deadline, by measured costs. A few batches of texts are trained
    on at a rate of 0, which changes nothing of the network."""
    probe = costs.passes(len(labelled))
    if not target.kind.is_language:
        return costs.passes(len(target)) + (1 + len(_SHARES)) * probe
    count = min(len(target), _TRIED * batch_size)
    texts = [target.raw(int(k)) for k in np.linspace(0, len(target) - 1, count)]
    started = monotonic()
    language_model = _language_model(model, engine, texts, batch_size, seed=0)
    language_model.train(epochs=1, lr=0.0, progress=Progress())
    epoch = (monotonic() - started) * len(target) / count
    return _epochs(len(target), batch_size) * epoch + 2 * probe


def _train_on(
    model: Model,
    engine: Engine,
    target: Split,
    batch_size: int,
    seed: int,
    deadline: float,
    progress: Progress,
) -> tuple[str, str]:
    """Train as a language model; what was done, and the bits per symbol."""
    texts = [target.raw(k) for k in range(len(target))]
    order = np.random.default_rng((seed, 0x7E47)).permutation(len(texts))
    shuffled = [texts[k] for k in order]
    history = _language_model(model, engine, shuffled, batch_size, seed).train(
        epochs=_epochs(len(texts), batch_size), lr=_RATE, progress=progress, deadline=deadline
    )
    bits = bits_per_symbol(history)
    fact = f"from {bits[0]:.2f} to {bits[history.best]:.2f} bits per symbol of text held out"
    return f"language model of {len(texts)} texts", fact


def _language_model(
    model: Model, engine: Engine, texts: list[str], batch_size: int, seed: int
) -> LanguageModel:
    held = _held_out(len(texts))
    recipe = Recipe(batch_size=batch_size, stage_decay=_DECAY, weight_decay=0.01)
    parts = (texts[held:], texts[:held])
    return LanguageModel(model, engine, recipe, *parts, window=_WINDOW, seed=seed)


def _epochs(texts: int, batch_size: int) -> int:
    steps = math.ceil((texts - _held_out(texts)) / batch_size)
    return min(max(math.ceil(_STEPS / steps), _EPOCHS[0]), _EPOCHS[1])


def _held_out(texts: int) -> int:
    return max(1, texts // _EVERY)


def _reestimate(
    model: Model, engine: Engine, target: Split, batch_size: int, seed: int, progress: Progress
) -> tuple[str, str]:
    """Measure the statistics of batch norms anew; what was done, and no fact if there are none."""
    inputs = Inputs(target, model.preprocessor, view=model.view)
    count = norm_statistics.reestimate(
        model.backbone, engine, inputs, batch_size=batch_size, seed=seed, progress=progress
    )
    what = f"norm statistics of {len(target)} {target.kind.plural}"
    return what, f"{count} batch norms measured anew" if count else ""
