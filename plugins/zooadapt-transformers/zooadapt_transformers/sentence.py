"""A text network with a sentence encoder's pooling and a linear head."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from zooadapt_transformers.pooling import Pool

ENCODER = "encoder"
"""The encoder's path in a `SentenceClassifier`."""


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    mask = mask[..., None].to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    mask = mask[..., None].to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1).sqrt()


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None] * torch.arange(1, states.shape[1] + 1, device=states.device)[:, None]
    weights = weights.to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]


POOL: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda states, mask: states[:, 0],
    "mean": _mean,
    "max": lambda states, mask: states.masked_fill(mask[..., None] == 0, float("-inf")).amax(1),
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
"""sentence-transformers' names of poolings -> `(N, D)` of `(N, T, D)` states and the mask of their
tokens; texts are padded at their end."""


class Pooling(nn.Module):
    """`(N, D)` of the states by a `Pool`."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        pooled = torch.cat([POOL[mode](states, mask) for mode in self.pool.modes], 1)
        return nn.functional.normalize(pooled) if self.pool.normalize else pooled

    def extra_repr(self) -> str:
        return self.pool.name


class SentenceClassifier(nn.Module):
    """An encoder of transformers, a pooling and a linear head. sentence-transformers gives the
    logits as the embedding of an export."""

    def __init__(self, encoder: PreTrainedModel, pool: Pool, num_classes: int) -> None:
        super().__init__()
        self.config = encoder.config
        self.encoder = encoder
        self.pooling = Pooling(pool)
        self.classifier = nn.Linear(len(pool.modes) * encoder.config.hidden_size, num_classes)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, **types: Tensor
    ) -> SequenceClassifierOutput:
        """`logits` `(N, K)` of padded texts. types: `token_type_ids`, where the encoder has any."""
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **types
        ).last_hidden_state
        return SequenceClassifierOutput(
            logits=self.classifier(self.pooling(states, attention_mask))
        )
