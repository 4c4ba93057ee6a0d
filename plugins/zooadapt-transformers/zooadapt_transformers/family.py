"""The families of transformers' networks. Imports no torch.

Text and images are two families of one distribution, since a family has one kind of input; they
share all but the preprocessor. The distribution zooadapt-audio has a third, for sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt.family import FILES, Capabilities, Family, Stage, Variant, config_keys
from zooadapt_transformers import examples, pooling, settings
from zooadapt_transformers.pooling import Pool
from zooadapt_transformers.recipes import RECIPES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zooadapt_transformers.image import ImagePreprocessor
    from zooadapt_transformers.text import TextPreprocessor


_USAGE = """\
from transformers import pipeline

classify = pipeline("{task}", model="{place}")
print(classify("{example}"{every}))
"""
_SENTENCE_USAGE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{place}")
probabilities = model.encode("a text", convert_to_tensor=True).softmax(0)
names = model[0].auto_model.config.id2label
print([{{"label": names[int(probabilities.argmax())], "score": float(probabilities.max())}}])
"""
_SENTENCE_USAGE_OF_LABELS = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{place}")
probabilities = model.encode("a text", convert_to_tensor=True).sigmoid().tolist()
names = model[0].auto_model.config.id2label
print([{{"label": names[k], "score": score}} for k, score in enumerate(probabilities)])
"""
_SENTENCE_USAGE_OF_NUMBERS = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{place}")
numbers = model.encode("a text", convert_to_tensor=True){exp}.tolist()
print(dict(zip(model[0].auto_model.config.id2label.values(), numbers)))
"""


class EncoderFamily(Family):
    """What families of transformers' networks share: the network, its stages and its config."""

    api = 1
    library = "transformers"

    def claims(self, config: Mapping[str, Any]) -> bool:
        kind = config.get("model_type")
        recipe = RECIPES.get(kind) if isinstance(kind, str) else None
        return recipe is not None and recipe.modality == self.modality

    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        from zooadapt_transformers import network

        return network.build(config, num_classes)

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        from zooadapt_transformers.stages import split

        return split(net)

    def head(self, net: nn.Module) -> str:
        from zooadapt_transformers import network

        return network.head(net)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        from zooadapt_transformers import network

        return network.convert(state, config)

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return settings.labels(config)

    def task_config(self, task: str) -> Mapping[str, Any]:
        return settings.TASKS.get(task, {})

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str:
        task = f"{self.modality}-classification"
        example = {"image": "photo.jpg", "text": "a text", "audio": "clip.wav"}[self.modality]
        every = ", top_k=None" if self.modality == "text" and settings.several(config) else ""
        return _USAGE.format(task=task, place=place, example=example, every=every)


class TextFamily(EncoderFamily):
    """Encoders of transformers, alone or in the layout of sentence-transformers."""

    name = "transformers"
    modality = "text"
    can = Capabilities(variable_length=True)
    imports = ("transformers.modeling_utils", "tokenizers")
    fetches = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", *pooling.LAYOUT)
    weight_folders = pooling.DENSE_FOLDERS

    def variants(self) -> Iterable[Variant]:
        rows = (
            ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0", 22_713_216, "English, quick"),
            ("BAAI/bge-small-en-v1.5", "mit", 33_360_000, "English, stronger"),
            ("intfloat/multilingual-e5-small", "mit", 117_653_760, "a hundred languages"),
            ("thenlper/gte-small", "mit", 33_360_000, ""),
            ("sentence-transformers/all-mpnet-base-v2", "apache-2.0", 109_486_464, ""),
            ("answerdotai/ModernBERT-base", "apache-2.0", 149_014_272, ""),
            ("google-bert/bert-base-uncased", "apache-2.0", 109_482_240, ""),
            ("distilbert/distilbert-base-uncased", "apache-2.0", 66_362_880, ""),
            ("FacebookAI/roberta-base", "mit", 124_645_632, ""),
            ("FacebookAI/xlm-roberta-base", "mit", 278_043_648, ""),
        )
        return (
            Variant(source=source, license=license, parameters=parameters, start=start)
            for source, license, parameters, start in rows
        )

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return examples.texts()

    def export_library(self, config: Mapping[str, Any]) -> str:
        return self.library if pooling.declared(config) is None else "sentence-transformers"

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str:
        if pooling.declared(config) is None:
            return super().usage(config, place, on_hub=on_hub)
        usage = _SENTENCE_USAGE_OF_LABELS if settings.several(config) else _SENTENCE_USAGE
        if config_keys.task(config) == "regression":
            usage = _SENTENCE_USAGE_OF_NUMBERS
        exp = ".exp()" if config_keys.logarithmic(config) else ""
        return usage.format(place=place, exp=exp)

    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> TextPreprocessor:
        from zooadapt_transformers.text import TextPreprocessor

        return TextPreprocessor(config)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        from zooadapt_transformers import network, text

        native = settings.native(config, classes)
        files = text.files(config)
        if pooling.declared(config) is not None:
            kind = network.encoder_class(settings.parse(config, len(classes)))
            native["architectures"] = [kind.__name__]
            files |= pooling.files(
                config,
                num_classes=len(classes),
                width=text.width(config),
                max_length=text.max_length(config),
                model_args=network.without_pooler(kind),
            )
        return native | {FILES: files}

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        from zooadapt_transformers import network

        return network.native_state(state, config)

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        from zooadapt_transformers import text

        return text.with_length(config, length)

    def poolings(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        declared = pooling.declared(config)
        if declared is not None:
            return {declared.name: config}
        own = {"the classifier's own": config}
        ways = (Pool(("mean",), normalize=True), Pool(("mean",)), Pool(("cls",)))
        pooled = {way.name: pooling.with_pool(config, way) for way in ways}
        classifies = str(config.get("architectures") or "").count("ForSequenceClassification")
        return own | pooled if classifies else pooled | own


class VisionFamily(EncoderFamily):
    """ViT, DeiT, DINOv2, ConvNeXt and ConvNeXt V2."""

    name = "transformers-vision"
    modality = "image"
    can = Capabilities(crop=True)
    imports = ("transformers.modeling_utils", "transformers.image_processing_backends")
    fetches = ("preprocessor_config.json",)

    def variants(self) -> Iterable[Variant]:
        return (
            Variant(
                source="google/vit-base-patch16-224", license="apache-2.0", parameters=85_798_656
            ),
            Variant(source="facebook/dinov2-small", license="apache-2.0", parameters=22_056_576),
            Variant(
                source="facebook/convnext-tiny-224", license="apache-2.0", parameters=27_820_128
            ),
        )

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return examples.images()

    def preprocessor(
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> ImagePreprocessor:
        from zooadapt_transformers.image import ImagePreprocessor

        return ImagePreprocessor(config, augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        from zooadapt_transformers import image

        return settings.native(config, classes) | {FILES: image.files(config)}

    def with_crop(self, config: Mapping[str, Any], *, crop: str) -> dict[str, Any]:
        from zooadapt_transformers import image

        return image.with_crop(config, crop)
