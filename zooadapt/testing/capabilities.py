"""Flags of `Capabilities`, each proved where it is set. Padding is among the forward checks."""

from __future__ import annotations

import torch
from torch import Tensor

from zooadapt.model import build
from zooadapt.testing.case import Case, clause, need, require
from zooadapt.testing.samples import synthesise


@clause
def check_other_input_sizes(case: Case) -> None:
    """Where `input_size` is declared: `with_input(size=...)` gives a network of the same weights
    for images of twice the side."""
    need(case.family.can.input_size, "capability input_size")
    channels, side = _image(case).shape[1], 2 * _image(case).shape[3]
    _check_runs(case, {"input_size": side}, (channels, side, side))


@clause
def check_other_channel_counts(case: Case) -> None:
    """Where `input_channels` is declared: `with_input(channels=...)` gives a network of the same
    weights for greyscale images, or for coloured ones if it is for greyscale."""
    need(case.family.can.input_channels, "capability input_channels")
    _, was, height, width = _image(case).shape
    channels = 3 if was == 1 else 1
    _check_runs(case, {"in_chans": channels}, (channels, height, width))


def _check_runs(case: Case, wanted: dict[str, int], shape: tuple[int, ...]) -> None:
    model = build(case.exported, **wanted)
    raws = synthesise("image", 2, channels=model.channels)
    carry = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    given = [tuple(t.shape[1:]) for t in carry.values() if t.ndim == 4]
    require(
        given == [shape],
        declared=f"images {shape}",
        actual=given,
        remedy="let `preprocessor` read the size and channels that `with_input` writes",
    )
    with torch.no_grad():
        logits = model.chain.logits(carry)
    require(
        logits.shape == (2, len(model.classes)) and bool(logits.isfinite().all()),
        declared=f"finite logits, (2, {len(model.classes)})",
        actual=f"{tuple(logits.shape)}, finite: {bool(logits.isfinite().all())}",
        remedy="let `build` and `convert` heed the size and channels that `with_input` writes",
    )


def _image(case: Case) -> Tensor:
    return next(tensor for tensor in case.carry().values() if tensor.ndim == 4)
