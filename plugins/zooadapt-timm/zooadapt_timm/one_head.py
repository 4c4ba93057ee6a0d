"""Networks that timm builds with two classifiers or none, and the same network of timm with one.

timm averages the logits of both (distillation: Touvron et al., ICML 2021) or adds the second to
the first (VOLO). Only the first head stays: it was trained on the labels. The vision encoder of a
language model has a sibling of the same layers that ends in a classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_WITHOUT = {
    r"levit_(conv_)?(128s?|192|256|384|384_s8)": {"distilled": False},
    r"efficientformerv2_\w+": {"distillation": False},
    r"repvit_\w+": {"distillation": False},
    r"iformer_\w+_distilled": {"distillation": False},
    r"volo_\w+": {"use_aux_head": False},
}
_ENCODER = re.compile(r"(\w+)_enc")
_DEIT = re.compile(r"(deit_\w+)_distilled(_\w+)")
_SECOND = re.compile(r"(.*\.)?(head_dist|aux_head)\..*")


def one_head(architecture: str, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture and arguments that build the same backbone with its first head alone.

    A distilled DeiT is a DeiT with a register token: its distillation token, which no head reads.
    timm pads convolutions of MobileNetV5's encoder as TensorFlow does; its classifier needs an
    argument for it.
    """
    if deit := _DEIT.fullmatch(architecture):
        return deit[1] + deit[2], {**args, "reg_tokens": 1}
    if encoder := _ENCODER.fullmatch(architecture):
        padded = {"pad_type": "same"} if encoder[1].startswith("mobilenetv5") else {}
        return encoder[1], padded | {k: v for k, v in args.items() if k != "global_pool"}
    for pattern, without in _WITHOUT.items():
        if re.fullmatch(pattern, architecture):
            return architecture, {**args, **without}
    return architecture, dict(args)


def without_second_head(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """A source's tensors under the names of the network of `one_head`, whose state is `own`."""
    renamed = {"dist_token": "reg_token"}
    return {
        renamed.get(k, k): tensor for k, tensor in state.items()
        if k in own or not _SECOND.fullmatch(k)
    }  # fmt: skip
