"""The network's own head layer: rows of classes that the source knows, and temperature."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zooadapt.errors import DataError

HeadLayer = nn.Linear | nn.Conv2d
"""A network's last layer: linear, or a 1x1 convolution, which is the same."""


def rescale(head: HeadLayer, scale: float) -> None:
    """Multiply a head's logits by a factor, folded into its weights."""
    with torch.no_grad():
        head.weight.mul_(scale)
        if head.bias is not None:
            head.bias.mul_(scale)


def fold(head: HeadLayer, scale: Tensor, shift: Tensor) -> None:
    """Multiply a head's logits by a `(K,)` factor and add `(K,)`, folded into its weights.

    Raises: DataError for a head that has no bias to add to.
    """
    if head.bias is None:
        raise DataError(
            "the head of this network has no bias, and numbers need one",
            thing="head",
            remedy="choose another source",
        )
    with torch.no_grad():
        head.weight.mul_(scale.to(head.weight).view(-1, *[1] * (head.weight.ndim - 1)))
        head.bias.mul_(scale.to(head.bias)).add_(shift.to(head.bias))


def copy_rows(
    head: HeadLayer,
    classes: Sequence[str],
    source_classes: Sequence[str] | None,
    source_weight: Tensor | None,
    source_bias: Tensor | None,
) -> list[str]:
    """Initialise a head: the source's rows, bit for bit, for classes that it knows by name, and
    zeros elsewhere, which give even probabilities.

    Returns the names of the classes whose rows are the source's.
    """
    carried = []
    with torch.no_grad():
        head.weight.zero_()
        if head.bias is not None:
            head.bias.zero_()
        if source_classes is not None and source_weight is not None:
            rows = {name: row for row, name in enumerate(source_classes)}
            for row, name in enumerate(classes):
                if name in rows and source_weight[rows[name]].shape == head.weight[row].shape:
                    head.weight[row] = source_weight[rows[name]]
                    if head.bias is not None and source_bias is not None:
                        head.bias[row] = source_bias[rows[name]]
                    carried.append(name)
    return carried
