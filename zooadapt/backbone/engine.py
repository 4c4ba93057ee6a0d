"""One loop: carries in, features, logits or a trained chain out, on whatever devices there are."""

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
"""Feature rows that are taken at once. Of four times as many, blocks that the allocator could not
put together again added up with the number of samples."""


class Engine:
    """Runs chains on the device, precision and processes that `accelerate` was given."""

    def __init__(self, *, precision: str, channels_last: bool) -> None:
        self.device = distributed.device()
        self.precision = precision
        self.channels_last = channels_last

    def place(self, backbone: StagedBackbone) -> StagedBackbone:
        """Move the network to the device, in the memory layout that suits it."""
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
        """Every sample's carries at each of the cuts `stops`, in one pass, on the CPU and in the
        precision they were computed in, with the samples' indices; batches come in order of length.
        Of several processes each gets its share of the batches. `only` leaves out other samples.
        With `POOLED` among the stops, the means of every stage's channels too. In eval mode, so
        nothing of the network moves."""
        backbone.eval()
        wanted = np.arange(len(loader)) if only is None else only
        lengths = loader.lengths()
        lengths = None if lengths is None else lengths[wanted]
        order = [wanted[k] for k in distributed.shard(in_order(len(wanted), batch_size, lengths))]
        freeze_points = sorted({backbone.depth if stop == POOLED else stop for stop in stops})
        with progress.task(what, sum(map(len, order))) as advance:
            folded: FoldedNorms | None = None
            for indices, activations in zip(order, loader.batches(order), strict=True):
                activations, at, found = self.to_device(activations), loader.freeze_at, {}
                means: Activations | None = {} if POOLED in stops else None
                if folded is None:
                    with self.autocast():  # a stored carry may be bf16
                        folded = fold(backbone, activations, start=at, stop=freeze_points[-1])
                with self.autocast(), folded:
                    for freeze_at in freeze_points:
                        activations, at = (
                            backbone.run(activations, start=at, stop=freeze_at, means=means),
                            freeze_at,
                        )
                        if freeze_at in stops:
                            found[freeze_at] = {name: t.cpu() for name, t in activations.items()}
                    if means is not None:
                        found[POOLED] = {name: t.cpu() for name, t in means.items()}
                yield indices, found
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
        for indices, found in self.activations(
            backbone,
            loader,
            stops=[backbone.depth],
            batch_size=batch_size,
            progress=progress,
            what=what,
        ):
            out[indices] = found[backbone.depth]["features"].float()
        distributed.all_reduce(out)
        return out

    def feature_rows(
        self, backbone: StagedBackbone, loader: Loader, *, batch_size: int, progress: Progress
    ) -> Rows:
        """`(n, D)` features in chunks, in the order of the samples, as often as asked for: stored
        ones are read anew each time, others are computed once and kept."""
        if loader.freeze_at == backbone.depth:
            chunks = in_order(len(loader), ROWS)
            return lambda: (
                activations["features"].float() for activations in loader.batches(chunks)
            )
        features = self.features(backbone, loader, batch_size=batch_size, progress=progress)
        return lambda: iter(features.split(ROWS))

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
        """`(n, K)` fp32 logits of the head alone, on the CPU, from `(n, D)` features."""
        weight = backbone.head.weight.detach().cpu().float().flatten(1)
        bias = backbone.head.bias
        return nn.functional.linear(
            features, weight, None if bias is None else bias.detach().cpu().float()
        )

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of this engine, around a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def to_device(self, activations: Activations) -> Activations:
        """A carry on the device, images in the memory layout that suits the network."""
        placed = {name: tensor.to(self.device) for name, tensor in activations.items()}
        if self.channels_last:
            placed = {
                name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
                for name, t in placed.items()
            }
        return placed
