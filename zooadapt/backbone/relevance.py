"""Which places of an image a network's answer rests on: Grad-CAM (Selvaraju et al. 2017, arXiv
1610.02391), and a test by deletion of whether these places matter more than others."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.staged import StagedBackbone, apply_head, places
from zooadapt.family import Activations

REMOVED = 0.25
"""Share of an image that the test deletes."""
PASSES = 4
"""Forward passes of `places_of` and `deletion` for each image."""
_SHIFTS = PASSES - 2
_LEAST_CELLS = 16
_MOST_PREFIX = 8
"""Tokens before those of the image's places, such as a class token and registers."""


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """The places of N images that the most probable class of each rests on."""

    stage: str
    """The stage whose activations are weighed."""
    cells: Tensor
    """`(N, h, w)` from 0 to 1; all 0 for an image without a place that speaks for the class."""
    answer: Tensor
    """`(N,)` most probable classes."""
    probability: Tensor
    """`(N,)` their probabilities."""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Probabilities `(N,)` of the classes that whole images were given."""

    marked: Tensor
    """Without the most relevant quarter of each image."""
    others: Tensor
    """Without as many other cells: the mean over the same cells moved elsewhere."""


@torch.inference_mode()
def operations(backbone: StagedBackbone, engine: Engine, inputs: Activations) -> float:
    """Operations of a forward pass of one of these images."""
    backbone.eval()
    first = engine.to_device({name: tensor[:1] for name, tensor in inputs.items()})
    with FlopCounterMode(display=False) as counter, engine.autocast():
        backbone.run(first)
    return float(counter.get_total_flops())


def places_of(backbone: StagedBackbone, engine: Engine, inputs: Activations) -> Relevance | None:
    """Grad-CAM at the last stage that has at least a few cells with a gradient on them. None for a
    network without such a stage, as one that is a single stage."""
    backbone.eval()
    points = [engine.to_device(inputs)]
    with torch.no_grad(), engine.autocast():
        for stage in backbone.stages:
            points.append(stage.run(points[-1]))
    with torch.no_grad():
        probabilities = _probabilities(backbone, points[-1])
    probability, answer = probabilities.max(1)
    for k in range(backbone.depth - 1, 0, -1):
        cells = None
        with suppress(RuntimeError):  # a stage without a backward pass
            cells = _cells(backbone, engine, points[k], k, answer)
        if cells is not None and (cells.amax((1, 2)) > 0).float().mean() >= 0.5:
            return Relevance(
                stage=backbone.stages[k - 1].name,
                cells=cells.cpu(),
                answer=answer.cpu(),
                probability=probability.cpu(),
            )
    return None


@torch.no_grad()
def deletion(
    backbone: StagedBackbone, engine: Engine, inputs: Activations, relevance: Relevance
) -> Deletion:
    """What the answers become without the most relevant cells of an image, and without the same
    pattern of cells moved to other places; the image's mean colour replaces them.

    inputs: one tensor, `(N, C, H, W)`, for which `places_of` has given `relevance`.
    """
    ((name, images),) = inputs.items()
    marked = _most_relevant(relevance.cells)
    n, height, width = marked.shape
    draw = torch.Generator().manual_seed(0)
    moves = 1 + torch.randperm(height * width - 1, generator=draw)[:_SHIFTS]
    masks = [marked]
    for move in moves.tolist():
        shift = divmod(move, width)
        masks.append(marked.roll(shift, dims=(1, 2)))
    answers = []
    for mask in masks:
        hidden = nn.functional.interpolate(mask[:, None].float(), images.shape[2:]) > 0
        colour = images.mean((2, 3), keepdim=True)
        batch = engine.to_device({name: torch.where(hidden, colour, images)})
        with engine.autocast():
            features = backbone.run(batch)
        probabilities = _probabilities(backbone, features).cpu()
        answers.append(probabilities[torch.arange(n), relevance.answer])
    return Deletion(marked=answers[0], others=torch.stack(answers[1:]).mean(0))


def _probabilities(backbone: StagedBackbone, activations: Activations) -> Tensor:
    return apply_head(backbone.head, activations["features"].float()).softmax(1)


def _cells(
    backbone: StagedBackbone, engine: Engine, activations: Activations, k: int, answer: Tensor
) -> Tensor | None:
    """`(N, h, w)` Grad-CAM at freeze point k, each image's greatest value 1; None where the
    activations have no places."""
    channels = backbone.channels(k)
    layouts = {name: _by_place(tensor, channels) for name, tensor in activations.items()}
    name = next((name for name, layout in layouts.items() if layout is not None), None)
    if name is None:
        return None
    with torch.enable_grad():
        leaf = activations[name].detach().clone().requires_grad_()
        with engine.autocast():
            end = backbone.run({**activations, name: leaf}, start=k)
        logits = apply_head(backbone.head, end["features"].float())
        score = logits.gather(1, answer[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
    values, slopes = (_by_place(t.float(), channels) for t in (leaf.detach(), gradient))
    if values is None or slopes is None:
        return None
    cells = (values * slopes.mean((1, 2), keepdim=True)).sum(3).clamp_min(0)
    return cells / cells.amax((1, 2), keepdim=True).clamp_min(1e-12)


def _by_place(tensor: Tensor, channels: int | None) -> Tensor | None:
    """`(N, h, w, C)`, for maps of channels in either order and for tokens of a square; None for
    other tensors, and for too few places."""
    if not tensor.is_floating_point():
        return None
    placed = None
    if tensor.ndim == 4:
        placed = tensor.permute(0, 2, 3, 1) if places(tensor, channels) == (2, 3) else tensor
    elif tensor.ndim == 3:
        side = math.isqrt(tensor.shape[1])
        prefix = tensor.shape[1] - side * side
        if prefix <= _MOST_PREFIX:
            n, _, channels = tensor.shape
            placed = tensor[:, prefix:].reshape(n, side, side, channels)
    if placed is None or placed.shape[1] != placed.shape[2]:
        return None
    return placed if placed.shape[1] * placed.shape[2] >= _LEAST_CELLS else None


def _most_relevant(cells: Tensor) -> Tensor:
    """`(N, h, w)`, whether each cell is among the most relevant quarter of its image."""
    flat = cells.flatten(1)
    count = max(1, round(REMOVED * flat.shape[1]))
    marked = torch.zeros_like(flat, dtype=torch.bool)
    return marked.scatter(1, flat.topk(count, dim=1).indices, True).view_as(cells)
