"""timm's Hub `config.json`, checked key by key. Imports neither torch nor timm.

Only the keys in this module are read: no config chooses code, a file or an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zooadapt.family import CROPS, config_keys
from zooadapt.family.config_keys import FLAG, FRACTION, Kind, choice, listed, number, text, whole
from zooadapt_timm.one_head import one_head

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
MAX_SIDE = 4096
MAX_CLASSES = 1_000_000

_NAME = text(r"[A-Za-z0-9_]{0,40}", "a name of letters, digits and underscores")
_PATH = text(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,8}", "a layer's path")
_PROSE = text(r"(?s).{0,2000}", "a text")
_SIDE = whole(1, MAX_SIDE)
_SIZE = listed(whole(1, MAX_SIDE), 3, 3)
_PIXELS = _SIDE | listed(_SIDE, 2, 2)

MODEL_ARGS: dict[str, Kind[Any]] = {
    "act_layer": _NAME, "norm_layer": _NAME, "pad_type": _NAME, "pos_embed": _NAME,
    "global_pool": _NAME, "stem_type": _NAME,
    "in_chans": whole(1, 64), "img_size": _PIXELS, "patch_size": whole(1, 64) | listed(
        whole(1, 64), 2, 2), "window_size": _PIXELS,
    "output_stride": whole(1, 64), "reg_tokens": whole(0, 256), "num_heads": whole(1, 256),
    "embed_dim": whole(1, 8192), "depth": whole(1, 128), "mlp_ratio": number(0.1, 16),
    "init_values": number(0, 10), "bn_eps": number(0, 1), "bn_momentum": number(0, 1),
    **dict.fromkeys(
        ("drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate", "pos_drop_rate",
         "patch_drop_rate"), FRACTION),
    **dict.fromkeys(
        ("class_token", "distilled", "distillation", "dynamic_img_pad", "dynamic_img_size",
         "fc_norm", "final_norm", "no_embed_class", "pre_norm", "qk_norm", "qkv_bias",
         "strict_img_size", "use_aux_head"), FLAG),
}  # fmt: skip
"""The arguments of a network that a config may set, each bounded; the core sets `num_classes`."""

_PRETRAINED: dict[str, Kind[Any]] = {
    "input_size": _SIZE, "test_input_size": _SIZE, "min_input_size": _SIZE,
    "fixed_input_size": FLAG,
    "interpolation": choice("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"),
    "crop_pct": number(0.05, 4), "test_crop_pct": number(0.05, 4),
    "crop_mode": choice(*CROPS),
    "mean": listed(number(-10, 10), 1, 64), "std": listed(number(1e-6, 1000), 1, 64),
    "pool_size": listed(_SIDE, 1, 2), "test_pool_size": listed(_SIDE, 1, 2),
    "first_conv": _PATH | listed(_PATH, 0, 8), "classifier": _PATH | listed(_PATH, 1, 8),
    "tag": text(r"[\w.\-]{0,200}", "a tag"), "license": _PROSE, "notes": _PROSE | listed(
        _PROSE, 0, 20),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A parsed config; `num_classes` is the source's, 0 for one without a head."""

    architecture: str
    num_classes: int
    num_features: int | None
    global_pool: str | None
    label_names: tuple[str, ...] | None
    label_descriptions: Mapping[str, str] = field(default_factory=dict)
    model_args: Mapping[str, Any] = field(default_factory=dict)
    pretrained: Mapping[str, Any] = field(default_factory=dict)
    """`pretrained_cfg` without the location of weights: sizes, preprocessing, names of layers."""
    weights_input_size: Sequence[int] | None = None
    """(C, H, W) for which the source's weights were made, if not `input_size`."""

    def config(self) -> dict[str, Any]:
        """A `config.json` that parses to this."""
        names = () if self.label_names is None else self.label_names
        return {
            **self.native(names), "num_classes": self.num_classes,
            "num_features": self.num_features, "global_pool": self.global_pool,
            "weights_input_size": self.weights_input_size,
        }  # fmt: skip

    def native(self, classes: Sequence[str]) -> dict[str, Any]:
        """timm's Hub `config.json` of the same network with a head for `classes`."""
        k = len(classes)
        known = {n: self.label_descriptions[n] for n in classes if n in self.label_descriptions}
        optional = {
            "num_features": self.num_features, "global_pool": self.global_pool,
            "label_descriptions": known, "model_args": dict(self.model_args),
        }  # fmt: skip
        return {
            "architecture": self.architecture,
            "num_classes": k,
            "label_names": list(classes),
            **{key: value for key, value in optional.items() if value},
            "pretrained_cfg": {"custom_load": False, **self.pretrained, "num_classes": k},
        }

    def with_input(self, *, size: int | None, channels: int | None, fixed: bool) -> Settings:
        """For square inputs of `size` pixels or for `channels` channels. Networks of `fixed` input
        size get it as an argument. All channels of another count are normalised by the mean of the
        old channels' values."""
        args, pretrained = dict(self.model_args), dict(self.pretrained)
        old = pretrained.get("input_size", [3, 224, 224])
        channels = channels or old[0]
        pretrained["input_size"] = [channels, size or old[1], size or old[2]]
        for key in ("test_input_size", "min_input_size", "pool_size", "test_pool_size"):
            pretrained.pop(key, None)
        if channels != old[0]:
            args["in_chans"] = channels
            for key, default in IMAGENET.items():
                values = pretrained.get(key, default)
                pretrained[key] = [sum(values) / len(values)] * channels
        if size and (fixed or "img_size" in args):
            args["img_size"] = size
        return replace(
            self,
            model_args=args,
            pretrained=pretrained,
            weights_input_size=self.weights_input_size or old,
        )

    def with_crop(self, crop: str) -> Settings:
        """With this `crop_mode` of timm's."""
        return replace(self, pretrained={**self.pretrained, "crop_mode": crop})


def parse(config: Mapping[str, Any]) -> Settings:
    """Read a `config.json` of timm's, in today's layout or the old flat one. A network with two
    heads becomes the same network with one.

    Raises: DataError naming the key that is missing, unknown, of a wrong type or out of bounds.
    """
    pretrained = (
        config_keys.nested(config, "pretrained_cfg") if "pretrained_cfg" in config else config
    )
    args = config_keys.nested(config, "model_args")
    if unknown := sorted(set(args) - set(MODEL_ARGS) - {"num_classes"}):
        key = unknown[0]
        raise config_keys.error(f"model_args.{key}", args[key], "no such argument")
    described = config_keys.nested(
        config if "label_descriptions" in config else pretrained, "label_descriptions"
    )
    architecture, args = one_head(
        config_keys.get(config, "architecture", text(r"[A-Za-z0-9_]{1,100}", "a timm model")),
        config_keys.select(args, MODEL_ARGS, within="model_args."),
    )
    count = whole(0, MAX_CLASSES)
    within = config_keys.get(pretrained, "num_classes", count, 1000, within="pretrained_cfg.")
    return Settings(
        architecture=architecture,
        num_classes=config_keys.get(config, "num_classes", count, within),
        num_features=config_keys.get(config, "num_features", whole(1, 1 << 20), None),
        global_pool=config_keys.get(config, "global_pool", _NAME, None),
        label_names=config_keys.names(config, "label_names")
        or config_keys.names(pretrained, "label_names")
        or config_keys.names(pretrained, "labels")
        or None,
        label_descriptions={k: v for k, v in described.items() if isinstance(v, str)},
        model_args=args,
        pretrained=parse_pretrained(pretrained),
        weights_input_size=config_keys.get(config, "weights_input_size", _SIZE, None),
    )


def parse_pretrained(config: Mapping[str, Any]) -> dict[str, Any]:
    """The known keys of a `pretrained_cfg`. Raises: DataError naming the key at fault."""
    return config_keys.select(config, _PRETRAINED, within="pretrained_cfg.")
