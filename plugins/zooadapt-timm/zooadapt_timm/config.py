"""What timm's Hub `config.json` says, checked key by key. Imports neither torch nor timm.

Only what is listed here is read: nothing in a config chooses code, a file or an address.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zooadapt.errors import DataError
from zooadapt_timm.one_head import one_head

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
MAX_SIDE = 4096
MAX_CLASSES = 1_000_000

Check = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: int) -> Check:
    return (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"a whole number from {low} to {high}",
    )


def _number(low: float, high: float) -> Check:
    return (
        lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)
        and math.isfinite(v) and low <= v <= high,
        f"a number from {low:g} to {high:g}",
    )  # fmt: skip


def _text(pattern: str, said: str) -> Check:
    return (lambda v: isinstance(v, str) and re.fullmatch(pattern, v) is not None, said)


def _listed(item: Check, low: int, high: int) -> Check:
    return (
        lambda v: isinstance(v, list) and low <= len(v) <= high and all(map(item[0], v)),
        f"a list of {low if low == high else f'{low} to {high}'}, each {item[1]}",
    )


def _or(first: Check, second: Check) -> Check:
    return (lambda v: first[0](v) or second[0](v), f"{first[1]}, or {second[1]}")


_FLAG: Check = (lambda v: isinstance(v, bool), "true or false")
_NAME = _text(r"[A-Za-z0-9_]{0,40}", "a name of letters, digits and underscores")
_PATH = _text(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,8}", "a layer's path")
_PROSE = _text(r"(?s).{0,2000}", "a text")
_RATE = _number(0, 0.99)
_SIDE = _whole(1, MAX_SIDE)
_SIZE = _listed(_whole(1, MAX_SIDE), 3, 3)
_PIXELS = _or(_SIDE, _listed(_SIDE, 2, 2))

MODEL_ARGS: dict[str, Check] = {
    "act_layer": _NAME, "norm_layer": _NAME, "pad_type": _NAME, "pos_embed": _NAME,
    "global_pool": _NAME, "stem_type": _NAME,
    "in_chans": _whole(1, 64), "img_size": _PIXELS, "patch_size": _or(_whole(1, 64), _listed(
        _whole(1, 64), 2, 2)), "window_size": _PIXELS,
    "output_stride": _whole(1, 64), "reg_tokens": _whole(0, 256), "num_heads": _whole(1, 256),
    "embed_dim": _whole(1, 8192), "depth": _whole(1, 128), "mlp_ratio": _number(0.1, 16),
    "init_values": _number(0, 10), "bn_eps": _number(0, 1), "bn_momentum": _number(0, 1),
    **dict.fromkeys(
        ("drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate", "pos_drop_rate",
         "patch_drop_rate"), _RATE),
    **dict.fromkeys(
        ("class_token", "distilled", "distillation", "dynamic_img_pad", "dynamic_img_size",
         "fc_norm", "final_norm", "no_embed_class", "pre_norm", "qk_norm", "qkv_bias",
         "strict_img_size", "use_aux_head"), _FLAG),
}  # fmt: skip
"""The arguments of a network that a config may give, each bounded; `num_classes` is the core's."""

_PRETRAINED: dict[str, Check] = {
    "input_size": _SIZE, "test_input_size": _SIZE, "min_input_size": _SIZE,
    "fixed_input_size": _FLAG,
    "interpolation": (lambda v: v in ("nearest", "bilinear", "bicubic", "lanczos", "box",
                                      "hamming"), "the name of an interpolation"),
    "crop_pct": _number(0.05, 4), "test_crop_pct": _number(0.05, 4),
    "crop_mode": (lambda v: v in ("center", "squash", "border"), "'center', 'squash' or 'border'"),
    "mean": _listed(_number(-10, 10), 1, 64), "std": _listed(_number(1e-6, 1000), 1, 64),
    "pool_size": _listed(_SIDE, 1, 2), "test_pool_size": _listed(_SIDE, 1, 2),
    "first_conv": _or(_PATH, _listed(_PATH, 0, 8)), "classifier": _or(
        _PATH, _listed(_PATH, 1, 8)),
    "tag": _text(r"[\w.\-]{0,200}", "a tag"), "license": _PROSE, "notes": _or(
        _PROSE, _listed(_PROSE, 0, 20)),
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
    """`pretrained_cfg` without what locates weights: sizes, preprocessing, names of layers."""
    weights_input_size: Sequence[int] | None = None
    """(C, H, W) that the source's weights are for, where that is not `input_size`."""

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
        size are told it. Other than three channels are normalised alike, by the channels' mean."""
        args, given = dict(self.model_args), dict(self.pretrained)
        old = given.get("input_size", [3, 224, 224])
        channels = channels or old[0]
        given["input_size"] = [channels, size or old[1], size or old[2]]
        for key in ("test_input_size", "min_input_size", "pool_size", "test_pool_size"):
            given.pop(key, None)
        if channels != old[0]:
            args["in_chans"] = channels
            for key, default in IMAGENET.items():
                values = given.get(key, default)
                given[key] = [sum(values) / len(values)] * channels
        if size and (fixed or "img_size" in args):
            args["img_size"] = size
        return replace(
            self,
            model_args=args,
            pretrained=given,
            weights_input_size=self.weights_input_size or old,
        )

    def with_crop(self, crop: str) -> Settings:
        """With images made to fit by this `crop_mode` of timm's."""
        return replace(self, pretrained={**self.pretrained, "crop_mode": crop})


def parse(config: Mapping[str, Any]) -> Settings:
    """Read a `config.json` of timm's, in today's layout or the old flat one. Of a network with two
    heads it gives the same network with one.

    Raises: DataError naming the key that is missing, unknown, of a wrong type or out of bounds.
    """
    given = config.get("pretrained_cfg", config)
    if not isinstance(given, Mapping):
        raise _bad("pretrained_cfg", given, "an object")
    args = config.get("model_args") or {}
    if not isinstance(args, Mapping):
        raise _bad("model_args", args, "an object")
    unknown = sorted(set(args) - set(MODEL_ARGS) - {"num_classes"})
    if unknown:
        raise _bad(f"model_args.{unknown[0]}", args[unknown[0]], "no such argument")
    names = config.get("label_names") or given.get("label_names") or given.get("labels")
    described = config.get("label_descriptions", given.get("label_descriptions")) or {}
    if not isinstance(described, Mapping):
        raise _bad("label_descriptions", described, "an object")
    architecture, args = one_head(
        _get(config, "architecture", _text(r"[A-Za-z0-9_]{1,100}", "a timm model")),
        {key: _get(args, key, MODEL_ARGS[key], None, "model_args.")
         for key in args if key != "num_classes"},
    )  # fmt: skip
    return Settings(
        architecture=architecture,
        num_classes=_get(
            config, "num_classes", _whole(0, MAX_CLASSES), given.get("num_classes", 1000)),
        num_features=_get(config, "num_features", _whole(1, 1 << 20), None),
        global_pool=_get(config, "global_pool", _NAME, None),
        label_names=tuple(_names(names)) if names else None,
        label_descriptions={k: v for k, v in described.items() if isinstance(v, str)},
        model_args={key: value for key, value in args.items() if value is not None},
        pretrained=parse_pretrained(given),
        weights_input_size=_get(config, "weights_input_size", _SIZE, None),
    )  # fmt: skip


def parse_pretrained(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is read of a `pretrained_cfg`. Raises: DataError naming the key at fault."""
    return {key: value for key, check in _PRETRAINED.items()
            if (value := _get(given, key, check, None, "pretrained_cfg.")) is not None}  # fmt: skip


_MISSING = object()


def _get(
    config: Mapping[str, Any], key: str, check: Check, default: Any = _MISSING, where: str = ""
) -> Any:
    value = config.get(key)
    if value is None and default is not _MISSING:
        return default
    if value is None or not check[0](value):
        raise _bad(where + key, value, check[1])
    return value


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _bad("label_names", value, "a list of names")
    return value


def _bad(key: str, value: Any, wanted: str) -> DataError:
    shown = "nothing" if value is None else repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return DataError(
        f"config.json: '{key}' is {shown}, expected {wanted}", thing=key,
        remedy="correct the source's config.json",
    )  # fmt: skip
