"""The layers of a timm network that give its logits."""

from __future__ import annotations

from torch import nn

from zooadapt.errors import DataError

JOINT = "joint_head"
"""Path of the layer that replaces several heads (`joint.py`); a forward hook calls it."""


def head_path(net: nn.Module) -> str:
    """Dotted path of the layer that gives the logits: an `nn.Linear` or 1x1 `nn.Conv2d`.

    Raises: DataError for networks without a classifier.
    """
    heads = linear_heads(net)
    if len(heads) == 1:
        return next(iter(heads))
    name = type(net).__name__
    why = f"has several classifiers ({', '.join(heads)})" if heads else "has no classifier"
    raise DataError(
        f"'{name}' {why}, and zooadapt replaces one linear head", thing=name,
        remedy="choose another architecture: zooadapt models",
    )  # fmt: skip


def linear_heads(net: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of timm's own classifier that give logits, by path."""
    joint = getattr(net, JOINT, None)
    if isinstance(joint, nn.Linear):
        return {JOINT: joint}
    get_classifier = getattr(net, "get_classifier", None)
    classifier = get_classifier() if callable(get_classifier) else None
    parts = classifier if isinstance(classifier, (tuple, list, nn.ModuleList)) else (classifier,)
    inside = {id(m) for part in parts if isinstance(part, nn.Module) for m in part.modules()}
    return {
        path: module for path, module in net.named_modules()
        if id(module) in inside and isinstance(module, (nn.Linear, nn.Conv2d))
        and _outputs(module) == net.num_classes
    }  # fmt: skip


def _outputs(module: nn.Linear | nn.Conv2d) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if module.kernel_size == (1, 1) else None
