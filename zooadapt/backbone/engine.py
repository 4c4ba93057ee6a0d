"""Forward passes of a staged backbone over a loader: activations, features, logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from zooadapt.backbone.loaders import Loader, in_order
from zooadapt.backbone.norm_folding import FoldedNorms, fold
from zooadapt.backbone.rows import Rows
from zooadapt.backbone.staged import POOLED, StagedBackbone
from zooadapt.family import Activations
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress

ROWS = 1024
"""Feature rows in a chunk. With four times as many, memory fragments grew with the number of
samples."""


class Engine:
    """Runs staged backbones on the device and processes of `accelerate`, in one precision."""

    def __init__(self, *, precision: str, channels_last: bool) -> None:
        self.device = distributed.device()
        self.precision = precision
        self.channels_last = channels_last

    def place(self, backbone: StagedBackbone) -> StagedBackbone:
        """Move the network to the device, in this engine's memory layout."""
        backbone.net.to(self.device)
        if self.channels_last:
            backbone.net.to(memory_format=torch.channels_last)
        return backbone

    @torch.inference_mode()
    def activations(
        self,
        backbone: StagedBackbone,
        loader: Loader,
        *,
        stops: Sequence[int],
        batch_size: int,
        progress: Progress,
        what: str,
        only: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, dict[int, Activations]]]:
        """The samples' indices and activations at each of the freeze points `stops`, batch by batch
        in one pass: on the CPU, in the precision of the engine, in order of length. Each process
        gets its shard of the batches. `only` restricts the samples. With `POOLED` among the stops,
        the channel means of every stage too. The network runs in eval mode, so nothing of it
        changes."""
        backbone.eval()
        samples = np.arange(len(loader)) if only is None else only
        lengths = loader.lengths()
        lengths = None if lengths is None else lengths[samples]
        order = [samples[k] for k in distributed.shard(in_order(len(samples), batch_size, lengths))]
        freeze_points = sorted({backbone.depth if stop == POOLED else stop for stop in stops})
        with progress.task(what, sum(map(len, order))) as advance:
            folded: FoldedNorms | None = None
            for indices, activations in zip(order, loader.batches(order), strict=True):
                activations, at = self.to_device(activations), loader.freeze_at
                by_freeze_point: dict[int, Activations] = {}
                means: Activations | None = {} if POOLED in stops else None
                if folded is None:
                    with self.autocast():  # stored activations may be bf16
                        folded = fold(backbone, activations, start=at, stop=freeze_points[-1])
                with self.autocast(), folded:
                    for freeze_at in freeze_points:
                        activations = backbone.run(
                            activations, start=at, stop=freeze_at, means=means
                        )
                        at = freeze_at
                        if freeze_at in stops:
                            by_freeze_point[freeze_at] = _on_cpu(activations)
                    if means is not None:
                        by_freeze_point[POOLED] = _on_cpu(means)
                yield indices, by_freeze_point
                advance(len(indices))

    def features(
        self,
        backbone: StagedBackbone,
        loader: Loader,
        *,
        batch_size: int,
        progress: Progress,
        what: str = "features",
    ) -> Tensor:
        """`(n, D)` fp32 features on the CPU, in the order of the samples."""
        out = torch.zeros(len(loader), backbone.head.weight.shape[1])
        for indices, by_freeze_point in self.activations(
            backbone,
            loader,
            stops=[backbone.depth],
            batch_size=batch_size,
            progress=progress,
            what=what,
        ):
            out[indices] = by_freeze_point[backbone.depth]["features"].float()
        distributed.all_reduce(out)
        return out

    def feature_rows(
        self, backbone: StagedBackbone, loader: Loader, *, batch_size: int, progress: Progress
    ) -> Rows:
        """`(n, D)` features in chunks, in the order of the samples. Each call reads stored features
        anew; others are computed once and stay in memory."""
        if loader.freeze_at == backbone.depth:
            chunks = in_order(len(loader), ROWS)
            return lambda: (
                activations["features"].float() for activations in loader.batches(chunks)
            )
        features = self.features(backbone, loader, batch_size=batch_size, progress=progress)
        return lambda: iter(torch.split(features, ROWS))

    def logits(
        self,
        backbone: StagedBackbone,
        loader: Loader,
        *,
        batch_size: int,
        progress: Progress,
        what: str = "evaluating",
    ) -> Tensor:
        """`(n, K)` fp32 logits on the CPU, in the order of the samples. The head runs in fp32."""
        features = self.features(
            backbone, loader, batch_size=batch_size, progress=progress, what=what
        )
        return self.head_logits(backbone, features)

    @torch.inference_mode()
    def head_logits(self, backbone: StagedBackbone, features: Tensor) -> Tensor:
        """`(n, K)` fp32 logits on the CPU of the head alone, from `(n, D)` features."""
        weight = backbone.head.weight.detach().cpu().float().flatten(1)
        bias = backbone.head.bias
        return nn.functional.linear(
            features, weight, None if bias is None else bias.detach().cpu().float()
        )

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of this engine, around a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def to_device(self, activations: Activations) -> Activations:
        """Activations on the device, images in this engine's memory layout."""
        placed = {name: tensor.to(self.device) for name, tensor in activations.items()}
        if self.channels_last:
            placed = {
                name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
                for name, t in placed.items()
            }
        return placed


def _on_cpu(activations: Activations) -> Activations:
    return {name: tensor.cpu() for name, tensor in activations.items()}
