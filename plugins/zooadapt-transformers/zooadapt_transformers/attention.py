"""Functions that run one layer of each kind of text network. transformers' encoders compute masks,
rotary angles and relative positions once for all layers; these functions compute them from the
states of each layer, so that a network can start from any stage."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
)

RunLayer = Callable[[Any, nn.Module, Tensor, Tensor], Tensor]
"""`(encoder, layer, states, attention_mask)` to the next states, `(N, T, D)`. Encoders are `Any`:
each kind has methods of its own."""


def _mask(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    return _states(layer(states, _bidirectional(encoder, states, mask)))


def _mpnet(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    bias = encoder.encoder.compute_position_bias(states)
    return _states(layer(states, _bidirectional(encoder, states, mask), bias))


def _deberta(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    inner = encoder.encoder
    return _states(
        layer(
            states,
            inner.get_attention_mask(mask),
            relative_pos=inner.get_rel_pos(states),
            rel_embeddings=inner.get_rel_embedding(),
        )
    )


def _rotary(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    return _states(
        layer(
            states,
            attention_mask=_bidirectional(encoder, states, mask),
            position_embeddings=encoder.rotary_emb(states, _positions(states)),
        )
    )


def _modernbert(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    kind = str(layer.attention_type)
    create_mask = {
        "full_attention": create_bidirectional_mask,
        "sliding_attention": create_bidirectional_sliding_window_mask,
    }[kind]
    return _states(
        layer(
            states,
            attention_mask=create_mask(
                config=encoder.config, inputs_embeds=states, attention_mask=mask
            ),
            position_embeddings=encoder.rotary_emb(states, _positions(states), kind),
        )
    )


def _wavlm(encoder: Any, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    # The first layer holds the table of relative positions of all.
    table = encoder.encoder.layers[0].attention
    steps = states.shape[1]
    bias = table.compute_bias(steps, steps).repeat(len(states), 1, 1)
    with warnings.catch_warnings():
        # transformers gives torch a mask of another type than its positions.
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
        return _states(layer(states, attention_mask=mask, position_bias=bias))


RUN_LAYER: Mapping[str, RunLayer] = {
    "mask": _mask,
    "mpnet": _mpnet,
    "deberta": _deberta,
    "rotary": _rotary,
    "modernbert": _modernbert,
    "wavlm": _wavlm,
}
"""A recipe's `attention` -> the function that runs a layer."""


def _bidirectional(encoder: Any, states: Tensor, mask: Tensor) -> Any:
    return create_bidirectional_mask(
        config=encoder.config, inputs_embeds=states, attention_mask=mask
    )


def _positions(states: Tensor) -> Tensor:
    return torch.arange(states.shape[1], device=states.device)[None]


def _states(output: Any) -> Tensor:
    """The states alone, of a layer that may give its attention weights too."""
    states: Tensor = output if isinstance(output, Tensor) else output[0]
    return states
