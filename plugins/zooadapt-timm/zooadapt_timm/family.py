"""The family of timm's networks. Imports neither torch nor timm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt.family import Capabilities, Family, Stage, Variant, config_keys
from zooadapt_timm.config import parse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zooadapt_timm.preprocess import ImagePreprocessor

WRAPPED = "timm_wrapper"
"""The `model_type` under which transformers saves a network of timm's."""


_USAGE = """\
import timm
import torch
from PIL import Image

model = timm.create_model("PLACE", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
image = Image.open("photo.jpg").convert("MODE")
with torch.inference_mode():
    probabilities = model(transform(image)[None]).softmax(1)[0]
print(model.pretrained_cfg["label_names"][probabilities.argmax()], probabilities.max().item())
"""
_USAGE_OF_NUMBERS = f"""\
{_USAGE.rpartition("print")[0].replace("probabilities", "numbers").replace(".softmax(1)", "EXP")}\
print(dict(zip(model.pretrained_cfg["label_names"], numbers.tolist())))
"""
_USAGE_OF_LABELS = f"""\
{_USAGE.rpartition("print")[0].replace("softmax(1)", "sigmoid()")}\
print(dict(zip(model.pretrained_cfg["label_names"], probabilities.tolist())))
"""


class TimmFamily(Family):
    """Every image network of timm that ends in linear heads."""

    api = 1
    name = "timm"
    modality = "image"
    library = "timm"
    bundled = {"digits04": "sources/digits04"}
    can = Capabilities(input_size=True, input_channels=True, crop=True)
    imports = ("timm",)

    def variants(self) -> Iterable[Variant]:
        """The pretrained networks that timm keeps on the Hub."""
        from zooadapt_timm.variants import variants

        return variants()

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        """timm's own small test networks, one of them for images of one channel, and a network with
        averaged heads."""
        grey = {"input_size": [1, 64, 64], "mean": [0.5], "std": [0.5]}
        small = {"input_size": [3, 64, 64]}
        return {
            "convolutions": _example("test_resnet", small),
            "attention": _example("test_vit", {"input_size": [3, 160, 160]}),
            "grey": _example("test_efficientnet", grey, in_chans=1),
            "heads": _example("swiftformer_xs", small),
        }

    def claims(self, config: Mapping[str, Any]) -> bool:
        architecture = config.get("architecture")
        return (
            isinstance(architecture, str)
            and not architecture.startswith("char_")
            and config.get("model_type", WRAPPED) == WRAPPED
            and ("pretrained_cfg" in config or "num_classes" in config)
        )

    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        """Raises: DataError for an architecture or arguments that timm does not have."""
        from zooadapt_timm import zoo

        return zoo.create(zoo.resolve(config), num_classes)

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        from zooadapt_timm.split import split

        return split(net)

    def head(self, net: nn.Module) -> str:
        """Raises: DataError for a network without a head."""
        from zooadapt_timm.head import head_path

        return head_path(net)

    def preprocessor(
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> ImagePreprocessor:
        from zooadapt_timm.preprocess import ImagePreprocessor
        from zooadapt_timm.zoo import resolve

        return ImagePreprocessor(resolve(config).pretrained, augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        """timm's Hub format, as `timm.create_model("local-dir:…" or "hf-hub:…")` reads it."""
        from zooadapt_timm.zoo import resolve

        return resolve(config).native(classes)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """`state` as it is where every shape fits, else as timm loads it: first convolutions for
        other channel counts, resampled position embeddings, older names."""
        from zooadapt_timm import zoo

        return zoo.fitted(state, zoo.resolve(config))

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        from zooadapt_timm import zoo

        return zoo.native_state(state, zoo.resolve(config))

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return parse(config).label_names

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str | None:
        channels = parse(config).pretrained.get("input_size", (3,))[0]
        mode = "L" if channels == 1 else "RGB"
        where = f"{'hf-hub' if on_hub else 'local-dir'}:{place}"
        usages = {"multilabel": _USAGE_OF_LABELS, "regression": _USAGE_OF_NUMBERS}
        usage = usages.get(config_keys.task(config) or "", _USAGE)
        usage = usage.replace("EXP", ".exp()" if config_keys.logarithmic(config) else "")
        return usage.replace("MODE", mode).replace("PLACE", where)

    def with_input(
        self, config: Mapping[str, Any], *, size: int | None = None, channels: int | None = None
    ) -> dict[str, Any]:
        from zooadapt_timm import zoo

        adapted = zoo.with_input(zoo.resolve(config), size=size, channels=channels)
        return {**config, **adapted.config()}

    def with_crop(self, config: Mapping[str, Any], *, crop: str) -> dict[str, Any]:
        from zooadapt_timm import zoo

        return {**config, **zoo.resolve(config).with_crop(crop).config()}


def _example(architecture: str, pretrained: Mapping[str, Any], **args: int) -> dict[str, Any]:
    return {"architecture": architecture, "num_classes": 3, "model_args": args,
            "pretrained_cfg": pretrained}  # fmt: skip
