"""What of a picture reaches the network: what the source's crop leaves out, and what of colours and
size the source cannot take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.rows import in_memory
from zooadapt.data import Split
from zooadapt.errors import UsageError
from zooadapt.family import CROPS, Preprocessor
from zooadapt.heads import fitting, selection
from zooadapt.runtime import distributed
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.training.strategies import AUTO

LOOKED_AT = 64
"""Images whose size says what a typical one is."""
COMPARED = 256
"""Images on whose features crops are compared."""
LEFT_OUT = 0.35
"""Share of a typical image that the source's crop leaves out, beyond what it leaves out of a square
one, from which on it is worth a note and other crops are compared with it. Photos of 3:2 are below:
their loss is what the source was trained with."""
SMALL, SHRUNK = 128, 10
"""An input side that is small, and times fewer pixels than a typical image has: worth a note."""
_COLOURED = 8.0
"""Mean difference, of 255, between a pixel's channels from which on a picture has colours."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """A model with its crop settled, and what there is to say of it."""

    model: Model
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()


def settle(
    request: Request, model: Model, engine: Engine, train: Split, progress: Progress
) -> Framing:
    """The model with the crop that suits its images, where the choice was left open, the source's
    own leaves out much of a typical one, and another is better by leave-one-out; notes on what the
    source throws away of them. Images of usual shapes cost nothing."""
    if not train.kind.has_size:
        return Framing(model=model)
    size, notes = _typical(train), _thrown_away(request, model, train)
    lost = _lost(model.preprocessor, size)
    if request.crop != AUTO or lost <= LEFT_OUT:
        return Framing(model=model, notes=notes)
    seen = _seen(model.preprocessor, size)
    fact = f"the source's crop leaves out {1 - seen:.0%} of a typical image ({size[0]} x {size[1]})"
    if request.from_scratch or not model.source.family.can.crop:
        more = "; --crop squash uses all of it" if model.source.family.can.crop else ""
        return Framing(model=model, notes=(*notes, fact + more))
    model, choice = _compared(model, engine, train, fact, progress)
    note = f"{fact}, and {choice.value} was chosen by leave-one-out"
    return Framing(model=model, choices=(choice,), notes=(*notes, note))


def _compared(
    model: Model, engine: Engine, train: Split, fact: str, progress: Progress
) -> tuple[Model, Choice]:
    """The model with the crop of the lowest leave-one-out loss; with its own, unless another one is
    better beyond chance."""
    some = train.subset(_some(len(train), COMPARED))
    labels = torch.from_numpy(some.labels)
    names, models = ["the source's own"], [model]
    for crop in CROPS[1:]:
        try:
            other = _with_crop(model, crop)
        except UsageError:  # this family knows fewer
            continue
        if other.preprocessor.config() != model.preprocessor.config():
            names.append(crop)
            models.append(other)
    losses: list[Tensor] = []
    for name, one in zip(names, models, strict=True):
        rows = engine.features(
            one.backbone,
            Inputs(some, one.preprocessor, view=one.view),
            batch_size=32,
            progress=progress,
            what=f"features with crop {name}",
        )
        fit = fitting.fit_head(in_memory(rows), labels, model.task)
        losses.append(model.task.losses(fit.held_out_logits, labels))
    chosen = distributed.broadcast(lambda: selection.simplest(losses)[0])
    figures = ", ".join(
        f"{float(loss.mean()):.3f} with {name}" for name, loss in zip(names, losses, strict=True)
    )
    why = f"{fact}; leave-one-out loss {figures}"
    return models[chosen], Choice(what="crop", value=names[chosen], why=why)


def _with_crop(model: Model, crop: str) -> Model:
    source = model.source
    config = source.family.with_crop(source.config, crop=crop)
    return replace(
        model,
        source=replace(source, config=config),
        preprocessor=source.family.preprocessor(config),
    )


def _lost(preprocessor: Preprocessor, size: tuple[int, int]) -> float:
    """What the crop leaves out of an image of this size, beyond what it does of a square one."""
    square = _seen(preprocessor, (max(size), max(size)))
    return 1 - _seen(preprocessor, size) / square if square else 0.0


def _seen(preprocessor: Any, size: tuple[int, int]) -> float:
    """`seen`, which the preprocessors of images have."""
    return float(preprocessor.seen(size))


def _typical(split: Split) -> tuple[int, int]:
    """Width and height of the image of the median shape, of some of them."""
    sizes = [split.size(int(k)) for k in _some(len(split), LOOKED_AT)]
    sizes.sort(key=lambda size: max(size) / max(1, min(size)))
    return sizes[len(sizes) // 2]


def _thrown_away(request: Request, model: Model, train: Split) -> tuple[str, ...]:
    """A note where the source, as it is, takes grey images only and these have colours, or small
    ones only and these are large."""
    can, lost, remedies = model.source.family.can, [], []
    width, height = _typical(train)
    shape = model.preprocessor.config().get("input_size") or (model.channels, width, height)
    share = shape[1] * shape[2] / max(1, width * height)
    if request.in_chans is None and model.channels == 1 and _has_colours(train):
        lost.append("colours")
        remedies += ["--in-chans 3"] if can.input_channels else []
    if request.input_size is None and max(shape[1:]) < SMALL and share * SHRUNK < 1:
        lost.append(f"{1 - share:.0%} of the pixels of a typical image ({width} x {height})")
        remedies += [f"--input-size {SMALL}"] if can.input_size else []
    if not lost:
        return ()
    kind = "grey images" if model.channels == 1 else "images"
    advice = " or ".join([*remedies, "another source"])
    return (
        f"the source sees {kind} of {shape[1]} x {shape[2]}: {' and '.join(lost)} are thrown away; "
        f"{advice} keeps more",
    )


def _has_colours(split: Split) -> bool:
    """Whether most of a few images have colours."""
    coloured = []
    for k in _some(len(split), LOOKED_AT // 4):
        pixels = np.asarray(split.raw(int(k), min_side=32, channels=3)).astype(np.float32)
        coloured.append(float(np.ptp(pixels, axis=2).mean()) > _COLOURED)
    return 2 * sum(coloured) > len(coloured)


def _some(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, most)).astype(int)
