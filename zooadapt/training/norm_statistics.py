"""Running statistics of batch norms, re-estimated on other samples."""

from __future__ import annotations

import torch
from torch import nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, shuffled
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress


@torch.no_grad()
def reestimate(
    backbone: StagedBackbone,
    engine: Engine,
    loader: Loader,
    *,
    batch_size: int,
    seed: int,
    progress: Progress,
) -> int:
    """Replace the running statistics of all batch norms from the loader's freeze point on by the
    means over batches of its samples, of which each process takes all; the number of batch norms.
    """
    norms = [
        module
        for name, module in backbone.net.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.track_running_stats
        and backbone.stage_of(name) >= loader.freeze_at
    ]
    if not norms:
        return 0
    key = (seed, 0xBA7C4)
    order = shuffled(len(loader), batch_size, key=key)
    if len(order) > 1 and len(order[-1]) < batch_size:
        order = order[:-1]  # a small batch would count as much as the others
    momenta = [module.momentum for module in norms]
    backbone.eval()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.train()
    with progress.task("statistics", len(order)) as advance:
        for activations in loader.batches(order, key=key):
            with engine.autocast():
                backbone.run(engine.to_device(activations), start=loader.freeze_at)
            advance(1)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    backbone.eval()
    distributed.barrier()
    return len(norms)
