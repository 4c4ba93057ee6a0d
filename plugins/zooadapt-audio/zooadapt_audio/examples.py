"""Small configs of transformers' networks with their feature extractors, for the checks. Imports
no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zooadapt.family import FILES

_ENCODER = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
_WAVEFORM = _ENCODER | {
    "conv_dim": [8, 8], "conv_kernel": [40, 20], "conv_stride": [20, 16],
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 6, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_BY_FRAME = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
"""A norm of each frame, as large networks have it."""
_DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout")
_CLIP_BY_CLIP = dict.fromkeys(_DROPOUTS, 0.0)
"""A network with a norm over time runs clips one by one, so that its draws come in another order
than those of the stages."""
_NETWORKS: dict[str, dict[str, Any]] = {
    "wav2vec2": {"model_type": "wav2vec2", **_WAVEFORM, **_BY_FRAME},
    "wav2vec2-base": {"model_type": "wav2vec2", **_WAVEFORM, **_CLIP_BY_CLIP},
    "hubert": {"model_type": "hubert", **_WAVEFORM, **_CLIP_BY_CLIP},
    "wavlm": {"model_type": "wavlm", **_WAVEFORM, **_BY_FRAME},
    "whisper": {
        "model_type": "whisper", "is_encoder_decoder": True, "d_model": 16, "encoder_layers": 2,
        "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "num_mel_bins": 8,
        "max_source_positions": 50, "dropout": 0.1,
    },
    "spectrogram": {
        "model_type": "audio-spectrogram-transformer", **_ENCODER, "patch_size": 8,
        "frequency_stride": 4, "time_stride": 4, "max_length": 32, "num_mel_bins": 16,
    },
}  # fmt: skip
_EXTRACTORS: dict[str, dict[str, Any]] = {
    "whisper": {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8,
                "chunk_length": 1, "sampling_rate": 16_000},
    "spectrogram": {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": 16,
                    "max_length": 32, "sampling_rate": 16_000},
}  # fmt: skip
_OF_WAVEFORMS = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True,
    "sampling_rate": 16_000,
}  # fmt: skip


def of_transformers() -> dict[str, Mapping[str, Any]]:
    """Configs by name, each with its feature extractor."""
    return {
        name: {**config, FILES: {
            "preprocessor_config.json": json.dumps(_EXTRACTORS.get(name, _OF_WAVEFORMS))}}
        for name, config in _NETWORKS.items()
    }  # fmt: skip
