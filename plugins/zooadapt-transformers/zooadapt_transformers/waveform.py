"""The parts of networks that read the samples of a sound as they are: Wav2Vec2, HuBERT, WavLM.

Their batches are padded with zeros. Some of them normalise over the whole length of a clip in their
first layer, padding included, so that a clip gives other states in another batch; those are run
there clip by clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from zooadapt.family import Activations


def normalises_over_time(config: Any) -> bool:
    """Whether the first layer's norm depends on the padding of a batch."""
    return str(config.feat_extract_norm) == "group"


def one_by_one(kind: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The same class of network, whose forward runs clips of different lengths one by one."""
    return type(kind.__name__, (_OneByOne, kind), {"__module__": __name__})


class _OneByOne:
    def forward(
        self, input_values: Tensor, attention_mask: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """`logits` `(N, K)` of padded clips `(N, T)`, equal to those of each clip alone."""
        run: Callable[..., Any] = super().forward  # type: ignore[misc]  # the network's own
        if attention_mask is None or bool(attention_mask.all()):
            alone: SequenceClassifierOutput = run(input_values)
            return alone
        lengths = attention_mask.sum(dim=1).tolist()
        logits = [
            run(clip[None, :length]).logits
            for clip, length in zip(input_values, lengths, strict=True)
        ]
        return SequenceClassifierOutput(logits=torch.cat(logits))


def read(encoder: nn.Module) -> Callable[[Activations], Activations]:
    """The stem: convolutions, projection and positions, from padded clips, `input_values` `(N, T)`
    and the `attention_mask` of their samples, to `states` `(N, F, D)` and the mask of the frames.
    """
    network: Any = encoder
    stable = bool(network.config.do_stable_layer_norm)
    apart = normalises_over_time(network.config)

    def run(activations: Activations) -> Activations:
        samples = activations["attention_mask"].sum(dim=1)
        values = activations["input_values"][:, : int(samples.max())]
        frames = network._get_feat_extract_output_lengths(samples)
        if apart and int(samples.min()) < values.shape[1]:
            clips = zip(values, samples.tolist(), strict=True)
            parts = [network.feature_extractor(clip[None, :n])[0].T for clip, n in clips]
            features = pad_sequence(parts, batch_first=True)
        else:
            features = network.feature_extractor(values).transpose(1, 2)
        projected = network.feature_projection(features)
        states = projected if isinstance(projected, Tensor) else projected[0]
        inside = torch.arange(states.shape[1], device=frames.device) < frames[:, None]
        states = states.masked_fill(~inside[..., None], 0)
        states = states + network.encoder.pos_conv_embed(states)
        if not stable:
            states = network.encoder.layer_norm(states)
        mask = inside.to(activations["attention_mask"].dtype)
        return {"states": network.encoder.dropout(states), "attention_mask": mask}

    return run


def shortest(config: Any) -> int:
    """The samples of a clip that give one frame."""
    samples = 1
    layers = zip(config.conv_kernel, config.conv_stride, strict=True)
    for kernel, stride in reversed(list(layers)):
        samples = (samples - 1) * stride + kernel
    return int(samples)
