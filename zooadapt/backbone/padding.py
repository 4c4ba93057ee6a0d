"""Tensors of samples that differ in length, put end to end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cat(parts: Sequence[Tensor]) -> Tensor:
    """Tensors end to end; where they differ in length, padded with zeros at the end."""
    shape = [max(sizes) for sizes in zip(*(p.shape[1:] for p in parts), strict=True)]
    if all(list(p.shape[1:]) == shape for p in parts):
        return torch.cat(list(parts))
    whole = parts[0].new_zeros(sum(len(p) for p in parts), *shape)
    start = 0
    for part in parts:
        region = (slice(start, start + len(part)), *(slice(0, size) for size in part.shape[1:]))
        whole[region] = part
        start += len(part)
    return whole
