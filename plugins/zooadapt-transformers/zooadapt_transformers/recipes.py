"""The paths of the parts of each kind of network, one row per `model_type`.

Every network has a stem, a list of layers, a norm after the last layer, a tail and a head. Stem,
norm and tail are steps in order, each the path of a submodule or, with `()`, an operation of
`network.py` that transformers has in a forward method. A `?` marks a submodule that some sizes
lack.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One kind of network: its class in transformers and the paths of its parts."""

    network: str
    """The class with a classification head."""
    base: str
    """The encoder's path in it; `stem`, `layers`, `norm` and `shared` are relative to the encoder,
    `tail` and `head` to the whole network."""
    stem: tuple[str, ...] = ("embeddings",)
    layers: str = "encoder.layer"
    one_stage: str | None = None
    """The module that holds layers that share weights, and so are one stage."""
    norm: tuple[str, ...] = ()
    norm_last: str | None = None
    """The key of a config that says whether the norm follows the last layer; otherwise it is the
    stem's end."""
    tail: tuple[str, ...]
    head: str = "classifier"
    modality: str = "text"
    reads: str = "pixel_values"
    """The network's input, of fixed size. Texts and waveforms are of any length."""
    waveform: bool = False
    """Whether the input is a sound's own samples."""
    attention: str | None = "mask"
    """The function of `attention.py` that runs a layer; None where a layer takes states alone."""
    shared: tuple[str, ...] = ()
    """Submodules of the encoder that every layer reads. The stem owns them, so they are frozen with
    the first stage."""
    counts_padding: bool = False
    """Positions are counted from the padding token's index on, so there are fewer."""
    encoder_of_two: bool = False
    """The network is the encoder of an encoder and a decoder."""
    width: str | None = None
    """The key of the states' width. A new head reads the states as they are, through a projection
    that starts as the identity."""
    without: tuple[str, ...] = ()
    """Keys of probabilities that are 0 here: training would skip layers or mask states at random,
    and a stage's output would no longer be a function of its input and its own modules."""
    undeclared: tuple[str, ...] = ()
    """Keys of a config that the network reads and its config class does not declare."""
    padding_token: int | None = None
    """The only padding token that transformers' code for this kind supports."""
    fixed_size: bool = False
    """The network takes images of one size only."""
    processor: str | None = None
    """The processor of images or sounds that a source without a name for it has: transformers'
    default for this kind."""


def _bert(base: str, network: str) -> Recipe:
    return Recipe(network=network, base=base, tail=(f"{base}.pooler", "dropout"))


_OLD_ROPE = ("rope_theta", "rope_scaling", "global_rope_theta", "local_rope_theta")
"""Older names of the parameters of rotary positions, which transformers still reads."""
_DENSE_TANH = (
    "first()", "classifier.dropout", "classifier.dense", "tanh()", "classifier.dropout",
)  # fmt: skip


def _roberta(network: str) -> Recipe:
    return Recipe(
        network=network,
        base="roberta",
        tail=_DENSE_TANH,
        head="classifier.out_proj",
        counts_padding=True,
    )


def _vit(base: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        base=base,
        modality="image",
        attention=None,
        layers="layers",
        tail=(f"{base}.layernorm", "first()"),
        fixed_size=True,
        processor=network.removesuffix("ForImageClassification") + "ImageProcessor",
    )


def _dinov2(base: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        base=base,
        modality="image",
        attention=None,
        tail=(f"{base}.layernorm", "first_and_mean_patch()"),
        processor="BitImageProcessor",
    )


def _convnext(base: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        base=base,
        modality="image",
        attention=None,
        layers="encoder.stages",
        tail=("mean_pixel()", f"{base}.layernorm"),
        processor="ConvNextImageProcessor",
    )


def _waveform(base: str, network: str, attention: str = "mask") -> Recipe:
    return Recipe(
        network=network,
        base=base,
        modality="audio",
        waveform=True,
        attention=attention,
        stem=("feature_extractor", "feature_projection", "encoder.pos_conv_embed",
              "encoder.dropout"),
        layers="encoder.layers",
        norm=("encoder.layer_norm",),
        norm_last="do_stable_layer_norm",
        tail=("projector", "mean_frame()"),
        width="hidden_size",
        without=("layerdrop", "mask_time_prob", "mask_feature_prob"),
        processor="Wav2Vec2FeatureExtractor",
    )  # fmt: skip


RECIPES = {
    "bert": _bert("bert", "BertForSequenceClassification"),
    "roberta": _roberta("RobertaForSequenceClassification"),
    "xlm-roberta": _roberta("XLMRobertaForSequenceClassification"),
    "camembert": _roberta("CamembertForSequenceClassification"),
    "distilbert": Recipe(
        network="DistilBertForSequenceClassification",
        base="distilbert",
        layers="transformer.layer",
        tail=("first()", "pre_classifier", "relu()", "dropout"),
    ),
    "electra": Recipe(
        network="ElectraForSequenceClassification",
        base="electra",
        stem=("embeddings", "embeddings_project?"),
        tail=(
            "first()",
            "classifier.dropout",
            "classifier.dense",
            "classifier.activation",
            "classifier.dropout",
        ),
        head="classifier.out_proj",
    ),
    "mpnet": Recipe(
        network="MPNetForSequenceClassification",
        base="mpnet",
        attention="mpnet",
        shared=("encoder.relative_attention_bias",),
        tail=_DENSE_TANH,
        head="classifier.out_proj",
        counts_padding=True,
        padding_token=1,
    ),
    "deberta-v2": Recipe(
        network="DebertaV2ForSequenceClassification",
        base="deberta",
        attention="deberta",
        undeclared=(
            "attention_head_size",
            "embedding_size",
            "norm_rel_ebd",
            "pooler_hidden_size",
            "position_buckets",
            "share_att_key",
        ),
        shared=("encoder.rel_embeddings?", "encoder.LayerNorm?"),
        tail=("pooler", "dropout"),
    ),
    "albert": Recipe(
        network="AlbertForSequenceClassification",
        base="albert",
        layers="encoder.albert_layer_groups",
        one_stage="encoder",
        tail=("first()", "albert.pooler", "tanh()", "dropout"),
    ),
    "modernbert": Recipe(
        network="ModernBertForSequenceClassification",
        base="model",
        layers="layers",
        attention="modernbert",
        undeclared=("global_attn_every_n_layers", "head_dim", *_OLD_ROPE),
        shared=("rotary_emb",),
        norm=("final_norm",),
        tail=("classifier_pooling()", "head", "drop"),
    ),
    "nomic_bert": Recipe(
        network="NomicBertForSequenceClassification",
        base="nomic_bert",
        layers="layers",
        attention="rotary",
        undeclared=("head_dim", *_OLD_ROPE),
        shared=("rotary_emb",),
        tail=("nomic_bert.pooler", "dropout"),
    ),
    "vit": _vit("vit", "ViTForImageClassification"),
    "deit": _vit("deit", "DeiTForImageClassification"),
    "dinov2": _dinov2("dinov2", "Dinov2ForImageClassification"),
    "dinov2_with_registers": _dinov2(
        "dinov2_with_registers", "Dinov2WithRegistersForImageClassification"
    ),
    "convnext": _convnext("convnext", "ConvNextForImageClassification"),
    "convnextv2": _convnext("convnextv2", "ConvNextV2ForImageClassification"),
    "wav2vec2": _waveform("wav2vec2", "Wav2Vec2ForSequenceClassification"),
    "hubert": _waveform("hubert", "HubertForSequenceClassification"),
    "wavlm": _waveform("wavlm", "WavLMForSequenceClassification", attention="wavlm"),
    "whisper": Recipe(
        network="WhisperForAudioClassification",
        base="encoder",
        modality="audio",
        reads="input_features",
        attention=None,
        stem=("conv1", "gelu()", "conv2", "gelu()", "positions()", "dropout()"),
        shared=("embed_positions",),
        layers="layers",
        norm=("layer_norm",),
        tail=("projector", "mean_frame()"),
        encoder_of_two=True,
        width="d_model",
        without=("encoder_layerdrop",),
        processor="WhisperFeatureExtractor",
    ),
    "audio-spectrogram-transformer": Recipe(
        network="ASTForAudioClassification",
        base="audio_spectrogram_transformer",
        modality="audio",
        reads="input_values",
        attention=None,
        layers="layers",
        norm=("layernorm",),
        tail=("mean_of_first_two()", "classifier.layernorm"),
        head="classifier.dense",
        processor="ASTFeatureExtractor",
    ),
}
"""`model_type` of a `config.json` -> the parts of that network."""
