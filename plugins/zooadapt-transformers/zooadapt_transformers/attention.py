"""How each kind of text network runs one of its layers. What transformers' encoders compute once
for all layers (masks, rotary angles, relative positions) is computed here from the states at hand,
so that a network can start from any stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
)

RunLayer = Callable[[PreTrainedModel, nn.Module, Tensor, Tensor], Tensor]
"""`(encoder, layer, states, attention_mask)` to the next states, `(N, T, D)`."""


def _mask(encoder: PreTrainedModel, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    return _states(layer(states, _bidirectional(encoder, states, mask)))


def _mpnet(encoder: PreTrainedModel, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    bias = encoder.encoder.compute_position_bias(states)
    return _states(layer(states, _bidirectional(encoder, states, mask), bias))


def _deberta(encoder: PreTrainedModel, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    inner = encoder.encoder
    return _states(
        layer(
            states,
            inner.get_attention_mask(mask),
            relative_pos=inner.get_rel_pos(states),
            rel_embeddings=inner.get_rel_embedding(),
        )
    )


def _rotary(encoder: PreTrainedModel, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    return layer(
        states,
        attention_mask=_bidirectional(encoder, states, mask),
        position_embeddings=encoder.rotary_emb(states, _positions(states)),
    )


def _modernbert(encoder: PreTrainedModel, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    masked = {
        "full_attention": create_bidirectional_mask,
        "sliding_attention": create_bidirectional_sliding_window_mask,
    }[layer.attention_type]
    return layer(
        states,
        attention_mask=masked(config=encoder.config, inputs_embeds=states, attention_mask=mask),
        position_embeddings=encoder.rotary_emb(states, _positions(states), layer.attention_type),
    )


RUN_LAYER: Mapping[str, RunLayer] = {
    "mask": _mask,
    "mpnet": _mpnet,
    "deberta": _deberta,
    "rotary": _rotary,
    "modernbert": _modernbert,
}
"""A recipe's `attention` -> how a layer is run."""


def _bidirectional(encoder: PreTrainedModel, states: Tensor, mask: Tensor) -> Tensor | None:
    return create_bidirectional_mask(
        config=encoder.config, inputs_embeds=states, attention_mask=mask
    )


def _positions(states: Tensor) -> Tensor:
    return torch.arange(states.shape[1], device=states.device)[None]


def _states(output: object) -> Tensor:
    """The states alone, of a layer that may give its attention weights too."""
    if isinstance(output, Tensor):
        return output
    return output[0]
