"""Batch norms folded into the convolutions before them, while a network only runs forward.

In eval mode a batch norm is a fixed affine map of each channel, which the convolution's own weights
can include (Jacob et al. 2018, arXiv 1712.05877, section 3.2). Each saves a pass over memory: half
the time of a small network on a CPU. The network itself stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.family import Activations

Arguments = tuple[Any, ...]
"""The arguments of a call of a convolution or a batch norm, in order."""


class FoldedNorms(TorchFunctionMode):
    """Inside this context, a convolution whose output goes to one batch norm alone runs with it as
    one convolution, equal up to fp32 rounding, while weights and statistics stay the same."""

    def __init__(self, run: Callable[[], object]) -> None:
        """run: a forward pass in eval mode, in which the pairs are found."""
        super().__init__()
        recorder = _PairRecorder()
        with torch.no_grad(), recorder:
            run()
        pairs = recorder.pairs()
        self._weights = {id(conv[1]): _fold(conv, norm) for conv, norm in pairs}
        self._skipped = {id(norm[1]) for _, norm in pairs}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.conv2d:
            conv = _convolution(*args, **kwargs)
            if id(conv[1]) in self._weights:
                return func(conv[0], *self._weights[id(conv[1])], *conv[3:])
        elif func is F.batch_norm:
            norm = _normalisation(*args, **kwargs)
            if id(norm[1]) in self._skipped:
                return norm[0]
        return func(*args, **kwargs)


def fold(
    backbone: StagedBackbone, activations: Activations, *, start: int = 0, stop: int | None = None
) -> FoldedNorms:
    """The context for forward passes of these stages in eval mode. A pass over the first sample of
    `activations`, those at freeze point `start`, finds the pairs."""
    first = {name: tensor[:1] for name, tensor in activations.items()}
    return FoldedNorms(lambda: backbone.run(first, start=start, stop=stop))


class _PairRecorder(TorchFunctionMode):
    """Records which convolution's output goes to one batch norm and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self._convolutions: dict[int, tuple[Tensor, Arguments]] = {}
        self._norms: dict[int, Arguments] = {}
        self._uses: Counter[int] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if _tensors([out]):  # to read a shape or a device does not use the values
            self._uses.update(id(t) for t in _tensors([*args, *kwargs.values()]))
        if func is F.conv2d:
            # A reference keeps later tensors from getting its id; an earlier one may have had it.
            self._convolutions[id(out)] = (out, _convolution(*args, **kwargs))
            self._uses[id(out)] = 0
            self._norms.pop(id(out), None)
        elif func is F.batch_norm:
            norm = _normalisation(*args, **kwargs)
            self._norms[id(norm[0])] = norm
        return out

    def pairs(self) -> list[tuple[Arguments, Arguments]]:
        """Arguments of each convolution and of its batch norm."""
        return [
            (conv, norm)
            for key, (_, conv) in self._convolutions.items()
            if (norm := self._norms.get(key)) is not None
            and isinstance(conv[1], nn.Parameter)
            and norm[1] is not None
            and not norm[5]
            and self._uses[key] == self._uses[id(conv[1])] == self._uses[id(norm[1])] == 1
        ]


def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Arguments:  # fmt: skip
    return input, weight, bias, stride, padding, dilation, groups


def _normalisation(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Arguments:  # fmt: skip
    return input, running_mean, running_var, weight, bias, training, momentum, eps


def _fold(conv: Arguments, norm: Arguments) -> tuple[Tensor, Tensor]:
    _, weight, bias, *_ = conv
    _, mean, variance, gain, shift, _, _, eps = norm
    scale = (variance.double() + eps).rsqrt()
    if gain is not None:
        scale = scale * gain.double()
    offset = (bias.double() if bias is not None else 0) - mean.double()
    offset = offset * scale + (shift.double() if shift is not None else 0)
    folded = torch.empty_like(weight)  # in the weight's own memory layout
    folded.copy_(weight.double() * scale[:, None, None, None])
    return folded, offset.to(weight.dtype)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            tensors += _tensors(value)
    return tensors
