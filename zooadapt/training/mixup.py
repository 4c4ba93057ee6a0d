"""Batches whose samples are mixed in pairs, at whatever freeze point they are trained from."""

from __future__ import annotations

import math

import numpy as np
import torch

from zooadapt.backbone.staged import places
from zooadapt.errors import UsageError
from zooadapt.family import Activations


def mix(
    activations: Activations,
    key: tuple[int, ...],
    *,
    mixup: float,
    cutmix: float,
    channels: int | None = None,
) -> tuple[Activations, torch.Tensor, float]:
    """Activations mixed with themselves in another order, that order `(N,)`, and the share of each
    sample's own label; all of it a function of `key`.

    mixup: samples are averaged, with a weight drawn from Beta(mixup, mixup) (Zhang et al. 2018,
    arXiv 1710.09412). cutmix: a box of the image is another's, its area from Beta(cutmix, cutmix)
    (Yun et al. 2019, arXiv 1905.04899). With both, either comes half of the time.
    channels: where the activations have them, if their stage says so. Raises: UsageError when boxes
    are to be cut from what is no image, or from one that is not square where no stage says it.
    """
    rng = np.random.default_rng(key)
    order = torch.from_numpy(rng.permutation(len(next(iter(activations.values())))))
    boxes = cutmix > 0 and (mixup == 0 or rng.random() < 0.5)
    alpha = cutmix if boxes else mixup
    share = float(rng.beta(alpha, alpha))
    if not boxes:
        mixed = {
            name: torch.lerp(t[order], t, share) if t.is_floating_point() else t
            for name, t in activations.items()
        }
        return mixed, order, share
    sides = {name: where for name, t in activations.items() if (where := _sides(t, channels))}
    if not sides:
        raise UsageError(
            "there is no square image to cut boxes from where this training starts",
            thing="--cutmix",
            remedy="--mixup",
        )
    (first, where), *_ = sides.items()
    height, width = (activations[first].shape[k] for k in where)
    side = math.sqrt(1 - share)
    y, x = rng.integers(height), rng.integers(width)
    top, bottom = (round(min(max(y + k * side * height / 2, 0), height)) for k in (-1, 1))
    left, right = (round(min(max(x + k * side * width / 2, 0), width)) for k in (-1, 1))
    mixed = dict(activations)
    for name, where in sides.items():
        mixed[name] = activations[name].clone()
        own, others = (t.movedim(where, (1, 2)) for t in (mixed[name], activations[name][order]))
        own[:, top:bottom, left:right] = others[:, top:bottom, left:right]
    return mixed, order, 1 - (bottom - top) * (right - left) / (height * width)


def _sides(tensor: torch.Tensor, channels: int | None) -> tuple[int, ...]:
    """The dimensions of height and width, if the tensor is known to be an image."""
    sides = places(tensor, channels) if tensor.ndim == 4 else ()
    is_known = channels is not None or len({tensor.shape[k] for k in sides}) == 1
    return sides if is_known else ()
