"""Which layer of a timm network is its head."""

from __future__ import annotations

from torch import nn

from zooadapt.errors import DataError


def head_path(net: nn.Module) -> str:
    """Dotted path of the one layer that gives the logits: an `nn.Linear` or 1x1 `nn.Conv2d`.

    Raises: DataError for networks without a classifier, and for those that average two of them
    (most are distilled networks), which no single linear layer stands for.
    """
    classifier = net.get_classifier() if hasattr(net, "get_classifier") else None
    parts = classifier if isinstance(classifier, (tuple, list, nn.ModuleList)) else (classifier,)
    inside = {id(m) for part in parts if isinstance(part, nn.Module) for m in part.modules()}
    found = [
        path for path, module in net.named_modules()
        if id(module) in inside and _outputs(module) == net.num_classes
    ]  # fmt: skip
    if len(found) == 1:
        return found[0]
    name = type(net).__name__
    why = f"adds up {len(found)} heads ({', '.join(found)})" if found else "has no classifier"
    raise DataError(
        f"'{name}' {why}, and zooadapt replaces one linear head", thing=name,
        remedy="choose another architecture: zooadapt models",
    )  # fmt: skip


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
        return module.out_channels
    return None
