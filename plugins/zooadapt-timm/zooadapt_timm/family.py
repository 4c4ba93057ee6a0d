"""The family: what the core asks of timm's networks. Imports neither torch nor timm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt.family import Capabilities, Family, Stage, Variant
from zooadapt_timm.settings import parse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zooadapt_timm.preprocess import ImagePreprocessor


class TimmFamily(Family):
    """Every image network of timm that ends in one linear head."""

    api = 1
    name = "timm"
    modality = "image"
    library = "timm"
    can = Capabilities(input_size=True, input_channels=True)
    imports = ("timm",)

    def variants(self) -> Iterable[Variant]:
        from zooadapt_timm import network

        return network.variants()

    def claims(self, config: Mapping[str, Any]) -> bool:
        return (
            isinstance(config.get("architecture"), str)
            and ("pretrained_cfg" in config or "num_classes" in config)
            and "model_type" not in config
        )

    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        from zooadapt_timm import network

        return network.build(parse(config), num_classes)

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        from zooadapt_timm.split import split

        return split(net)

    def head(self, net: nn.Module) -> str:
        from zooadapt_timm.head import head_path

        return head_path(net)

    def preprocessor(
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> ImagePreprocessor:
        from zooadapt_timm.preprocess import ImagePreprocessor

        return ImagePreprocessor(parse(config), augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        return parse(config).native(classes)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """As timm loads it: old names, another channel count, another size of image."""
        from zooadapt_timm import network

        return network.convert(state, parse(config))

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return parse(config).label_names

    def with_input(
        self, config: Mapping[str, Any], *, size: int | None = None, channels: int | None = None
    ) -> dict[str, Any]:
        from zooadapt_timm import network

        return network.with_input(config, size=size, channels=channels)
