"""Samples of the target without labels make a better source, before anything is solved or trained;
what they changed is kept only where the labelled samples see a gain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import Model
from zooadapt.data import ReadOptions, Split, open_inputs, open_texts
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
"""Batches of texts whose reading is timed for a plan."""
_SHARES = (0.5, 1.0)
"""How far the statistics of norm layers may go from the source's to the target's."""


def read(location: str, source: Source, test: Split | None, options: ReadOptions) -> Split:
    """The unlabelled samples, without those that are in the test part: what is measured there is to
    hold for samples that were not seen.

    Raises: UsageError where the source is for text and its family is no language model, DataError
    where this network is none or there are too few samples; what `open_texts` or `open_inputs`
    raises.
    """
    if source.family.modality == "text":
        source.family.language(source.config)
        found = open_texts(location, options=options)
    else:
        found = open_inputs([location], modality=source.family.modality, options=options)
    found = others(found, [test] if test else [])
    if len(found) < _EVERY:
        raise DataError(
            f"'{location}' holds {len(found)} samples that are not in the test part, fewer than "
            f"{_EVERY}",
            thing=location,
            remedy="give more of them, or leave out --unlabelled",
        )
    return found


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
    """Change the network by what the target's samples show, and take that back unless the head that
    is solved on the labelled samples' features has a lower leave-one-out loss beyond its noise. The
    choice, with that fact.

    Texts train it on as a language model (ULMFiT, Howard & Ruder, ACL 2018). Images give its batch
    norms new statistics, or such as lie half-way (AdaBN, Li et al. 2016, arXiv 1603.04779; the mean
    with the source's: Schneider et al. 2020, arXiv 2006.16971).
    kind: how the head is solved. deadline: `monotonic()` seconds.
    """
    net = model.backbone.net
    source = weight_averaging.copy(net)
    inputs = Inputs(
        labelled,
        model.preprocessor,
        channels=model.channels,
        variable_length=model.source.family.can.variable_length,
    )

    def losses() -> Tensor:
        rows = engine.features(model.backbone, inputs, batch_size=batch_size, progress=Progress())
        labels = torch.from_numpy(labelled.labels)
        fit = fitting.fit_head(
            lambda: iter([rows]), labels, len(model.classes), kind=kind, seed=seed
        )
        return nn.functional.cross_entropy(fit.held_out_logits, labels, reduction="none")

    found, states = [losses()], [source]
    if model.source.family.modality == "text":
        what, fact = _read_on(model, engine, target, batch_size, seed, deadline, progress)
        states.append(weight_averaging.copy(net))
        found.append(losses())
    else:
        what, fact = _look_at(model, engine, target, batch_size, seed, progress)
        seen = weight_averaging.copy(net)
        for share in _SHARES if fact else ():
            states.append(weight_averaging.blend(source, seen, share))
            net.load_state_dict(states[-1])
            found.append(losses())
    best, gain, noise = distributed.broadcast(lambda: selection.simplest(found))
    net.load_state_dict(states[best])
    why = (
        f"{fact or 'it has no batch norms'}; leave-one-out loss of the solved head "
        f"{float(found[0].mean()):.3f} without, {abs(gain):.3f} {'less' if gain > 0 else 'more'} "
        f"with, standard error {noise:.3f}"
    )
    value = f"{what}, {'kept' if best else 'not kept'}"
    progress.say(f"{value} ({why})")
    return Choice(what="unlabelled", value=value, why=why)


def seconds(
    model: Model, engine: Engine, labelled: Split, target: Split, costs: Costs, *, batch_size: int
) -> float:
    """What `refine` takes if nothing stops it, by measured costs; a few batches of texts are read
    at a rate of 0, so nothing of the network changes."""
    looks = costs.passes(len(labelled))
    if model.source.family.modality != "text":
        return costs.passes(len(target)) + (1 + len(_SHARES)) * looks
    count = min(len(target), _TRIED * batch_size)
    texts = [target.raw(int(k)) for k in np.linspace(0, len(target) - 1, count)]
    started, held_out = monotonic(), texts[: _held_out(count)]
    language_model = _language_model(model, engine, texts, held_out, batch_size, seed=0)
    language_model.train(epochs=1, lr=0.0, progress=Progress())
    epoch = (monotonic() - started) * len(target) / count
    return _epochs(len(target), batch_size) * epoch + 2 * looks


def _read_on(
    model: Model,
    engine: Engine,
    target: Split,
    batch_size: int,
    seed: int,
    deadline: float,
    progress: Progress,
) -> tuple[str, str]:
    """Train on as a language model; what was done, and how well it went."""
    texts = [target.raw(k) for k in range(len(target))]
    order = np.random.default_rng((seed, 0x7E47)).permutation(len(texts))
    held = _held_out(len(texts))
    parts = ([texts[k] for k in order[held:]], [texts[k] for k in order[:held]])
    history = _language_model(model, engine, *parts, batch_size, seed=seed).train(
        epochs=_epochs(len(texts), batch_size), lr=_RATE, progress=progress, deadline=deadline
    )
    bits = bits_per_symbol(history)
    fact = f"from {bits[0]:.2f} to {bits[history.best]:.2f} bits per symbol of text held out"
    return f"language model of {len(texts)} texts", fact


def _language_model(
    model: Model,
    engine: Engine,
    texts: list[str],
    held_out: list[str],
    batch_size: int,
    *,
    seed: int,
) -> LanguageModel:
    recipe = Recipe(batch_size=batch_size, stage_decay=_DECAY, weight_decay=0.01)
    return LanguageModel(model, engine, recipe, texts, held_out, window=_WINDOW, seed=seed)


def _epochs(texts: int, batch_size: int) -> int:
    steps = math.ceil((texts - _held_out(texts)) / batch_size)
    return min(max(math.ceil(_STEPS / steps), _EPOCHS[0]), _EPOCHS[1])


def _held_out(texts: int) -> int:
    return max(1, texts // _EVERY)


def _look_at(
    model: Model, engine: Engine, target: Split, batch_size: int, seed: int, progress: Progress
) -> tuple[str, str]:
    """Measure the statistics of batch norms anew; what was done, and no fact if there are none."""
    inputs = Inputs(target, model.preprocessor, channels=model.channels)
    count = norm_statistics.reestimate(
        model.backbone, engine, inputs, batch_size=batch_size, seed=seed, progress=progress
    )
    what = f"norm statistics of {len(target)} images"
    return what, f"{count} batch norms measured anew" if count else ""
