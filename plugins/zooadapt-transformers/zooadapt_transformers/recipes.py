"""Where the parts of each kind of network are: one row per `model_type`, and nothing else.

Every network is read the same way: a stem, a list of layers, a tail, a head. Stem and tail are
steps in order, each the path of a submodule or, with `()`, one of the operations of `network.py`
that transformers writes out in a forward method. A `?` marks a submodule that some sizes lack.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One kind of network: its class in transformers and the paths of its parts."""

    network: str
    stem: tuple[str, ...]
    layers: str
    tail: tuple[str, ...]
    head: str = "classifier"
    modality: str = "text"
    counts_padding: bool = False
    """Positions are counted from the padding token's index on, which costs some of them."""
    fixed_size: bool = False
    """Images of one size only."""
    processor: str | None = None
    """The image processor of a source that names none: transformers' own for this kind."""


def _bert(prefix: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        stem=(f"{prefix}.embeddings",),
        layers=f"{prefix}.encoder.layer",
        tail=(f"{prefix}.pooler", "dropout"),
    )


def _roberta(network: str) -> Recipe:
    return Recipe(
        network=network,
        stem=("roberta.embeddings",),
        layers="roberta.encoder.layer",
        tail=("first()", "classifier.dropout", "classifier.dense", "tanh()", "classifier.dropout"),
        head="classifier.out_proj",
        counts_padding=True,
    )


def _vit(prefix: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        modality="image",
        stem=(f"{prefix}.embeddings",),
        layers=f"{prefix}.layers",
        tail=(f"{prefix}.layernorm", "first()"),
        fixed_size=True,
        processor=network.removesuffix("ForImageClassification") + "ImageProcessor",
    )


def _dinov2(prefix: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        modality="image",
        stem=(f"{prefix}.embeddings",),
        layers=f"{prefix}.encoder.layer",
        tail=(f"{prefix}.layernorm", "first_and_mean_patch()"),
        processor="BitImageProcessor",
    )


def _convnext(prefix: str, network: str) -> Recipe:
    return Recipe(
        network=network,
        modality="image",
        stem=(f"{prefix}.embeddings",),
        layers=f"{prefix}.encoder.stages",
        tail=("mean_pixel()", f"{prefix}.layernorm"),
        processor="ConvNextImageProcessor",
    )


RECIPES = {
    "bert": _bert("bert", "BertForSequenceClassification"),
    "roberta": _roberta("RobertaForSequenceClassification"),
    "xlm-roberta": _roberta("XLMRobertaForSequenceClassification"),
    "camembert": _roberta("CamembertForSequenceClassification"),
    "distilbert": Recipe(
        network="DistilBertForSequenceClassification",
        stem=("distilbert.embeddings",),
        layers="distilbert.transformer.layer",
        tail=("first()", "pre_classifier", "relu()", "dropout"),
    ),
    "electra": Recipe(
        network="ElectraForSequenceClassification",
        stem=("electra.embeddings", "electra.embeddings_project?"),
        layers="electra.encoder.layer",
        tail=(
            "first()",
            "classifier.dropout",
            "classifier.dense",
            "classifier.activation",
            "classifier.dropout",
        ),
        head="classifier.out_proj",
    ),
    "vit": _vit("vit", "ViTForImageClassification"),
    "deit": _vit("deit", "DeiTForImageClassification"),
    "dinov2": _dinov2("dinov2", "Dinov2ForImageClassification"),
    "dinov2_with_registers": _dinov2(
        "dinov2_with_registers", "Dinov2WithRegistersForImageClassification"
    ),
    "convnext": _convnext("convnext", "ConvNextForImageClassification"),
    "convnextv2": _convnext("convnextv2", "ConvNextV2ForImageClassification"),
}
"""`model_type` of a `config.json` -> how to read that network."""
