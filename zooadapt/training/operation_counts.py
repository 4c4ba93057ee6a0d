"""What a network would cost on a machine of reference: operations counted, not seconds measured."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.training.cost_model import Costs, peak_memory

OPERATIONS = 2e10
"""Operations that the machine of reference does in a second: two cores of an ordinary laptop."""
_READ, _PREPARED = 1e8, 3e8
"""Bytes of decoded samples that it reads, and preprocesses again, in a second."""
_UPDATED = 5e8
"""Parameters that its optimiser moves in a second."""
_BACKWARD = 2.0
_SAMPLES = 2


@torch.inference_mode()
def count(backbone: StagedBackbone, engine: Engine, inputs: Inputs, *, batch_size: int) -> Costs:
    """Costs of a backbone that is in place, the same on every machine and at every load, apart from
    the memory of this process. Counted on two samples of `inputs` of middle length."""
    backbone.eval()
    activations = engine.to_device(next(inputs.batches([_middle(inputs)])))
    n = len(next(iter(activations.values())))
    forward, sizes = [], []
    with _unfused():
        for stage in backbone.stages:
            with FlopCounterMode(display=False) as counter:
                activations = stage.run(activations)
            size = sum(t.numel() * t.element_size() for t in activations.values())
            forward.append((counter.get_total_flops() + size) / n / OPERATIONS)
            sizes.append(size // n)
    parameters = sum(p.numel() for p in backbone.net.parameters())
    read = inputs.decoded_bytes // n
    return Costs(
        decode=read / _READ,
        prepare=read / _PREPARED,
        inference=sum(forward),
        fold=parameters / OPERATIONS,
        forward=tuple(forward),
        backward=_BACKWARD,
        step=parameters / _UPDATED,
        sample_bytes=read,
        activation_bytes=tuple(sizes),
        peak_bytes=peak_memory() + 12 * parameters + 2 * batch_size * sum(sizes),
    )


@contextmanager
def _unfused() -> Iterator[None]:
    """Recurrent layers run as what they are made of, since fused ones are not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what these flags do on other machines
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield


def _middle(inputs: Inputs) -> np.ndarray:
    lengths, most = inputs.lengths(), min(_SAMPLES, len(inputs))
    if lengths is None:
        return np.arange(most)
    order = np.argsort(lengths, kind="stable")
    start = (len(order) - most) // 2
    return order[start : start + most]
