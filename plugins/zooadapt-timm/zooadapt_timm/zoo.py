"""timm's registry: its architectures, its defaults for them, its loading of weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from zooadapt.errors import DataError
from zooadapt_timm.config import Settings, parse, parse_pretrained
from zooadapt_timm.head import JOINT, linear_heads
from zooadapt_timm.joint import join, joined, separated
from zooadapt_timm.one_head import without_second_head


def resolve(config: Mapping[str, Any]) -> Settings:
    """A config parsed. As in timm, timm's default for the architecture replaces an empty
    `pretrained_cfg` and gives absent names of layers; if another architecture replaces the
    config's own, the names are that one's.

    Raises: DataError naming the key at fault, and for an architecture that timm does not have.
    """
    settings = parse(config)
    name = settings.architecture
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f". Closest: {', '.join(close)}" if close else ""
        raise DataError(
            f"config.json: 'architecture' is '{name}', which timm {timm.__version__} does not "
            f"have{hint}", thing="architecture", remedy="correct it, or update timm",
        )  # fmt: skip
    default = _default(name)
    if not settings.pretrained:
        return replace(settings, pretrained=default)
    layers: dict[str, Any] = {
        key: default[key] for key in ("first_conv", "classifier") if key in default
    }
    if name == config["architecture"]:
        return replace(settings, pretrained={**layers, **settings.pretrained})
    return replace(settings, pretrained={**settings.pretrained, **layers},
                   num_features=None, global_pool=None)  # fmt: skip


def create(settings: Settings, num_classes: int) -> nn.Module:
    """The network in eval mode with random weights; several heads become one.

    Raises: DataError when timm refuses the arguments.
    """
    return join(_stock(settings, num_classes))


def _stock(settings: Settings, num_classes: int) -> nn.Module:
    try:
        return _create(settings, num_classes, settings.pretrained)
    except (TypeError, ValueError, AssertionError, KeyError, RuntimeError) as error:
        raise DataError(
            f"config.json: timm cannot build '{settings.architecture}' with 'model_args' "
            f"{dict(settings.model_args)}: {error}",
            thing="model_args", remedy="correct the source's config.json",
        ) from error  # fmt: skip


def fitted(state: Mapping[str, Tensor], settings: Settings) -> Mapping[str, Tensor]:
    """Source weights under the names and shapes of `create(settings, settings.num_classes)`.

    Weights that timm cannot fit are returned unchanged, so that the core names what is wrong.
    """
    with torch.device("meta"):
        stock = _stock(settings, settings.num_classes)
    own = stock.state_dict()
    state = _loaded_by_timm(without_second_head(state, own), settings, own)
    if len(linear_heads(stock)) < 2:
        return state
    image = torch.zeros(1, *settings.pretrained.get("input_size", (3, 224, 224)))
    return joined(state, _stock(settings, settings.num_classes), image)


def native_state(state: Mapping[str, Tensor], settings: Settings) -> Mapping[str, Tensor]:
    """The state of `create(settings, K)` under timm's own names."""
    if f"{JOINT}.weight" not in state:
        return state
    with torch.device("meta"):
        return separated(state, _stock(settings, len(state[f"{JOINT}.weight"])))


def _loaded_by_timm(
    state: Mapping[str, Tensor], settings: Settings, own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """`state` as it is where every name and shape fits, else as timm loads it."""
    if all(name in state and state[name].shape == tensor.shape for name, tensor in own.items()):
        return state
    state = {**state, **dict(_for_three_channels(state, settings, own))}
    source = {**settings.pretrained, "num_classes": settings.num_classes, "state_dict": dict(state)}
    if settings.weights_input_size:
        source["input_size"] = settings.weights_input_size
    try:
        return _create(settings, settings.num_classes, source, load=True).state_dict()
    except (RuntimeError, KeyError):
        return state


def _for_three_channels(
    state: Mapping[str, Tensor], settings: Settings, own: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """First convolutions of another channel count than the network's, as convolutions for three
    channels, the only ones that timm adapts. Their outputs for grey images stay the same."""
    first = settings.pretrained.get("first_conv") or ()
    for path in [first] if isinstance(first, str) else first:
        name = f"{path}.weight"
        if name in state and name in own:
            weight = state[name]
            count = weight.shape[1]
            if count != 3 and count != own[name].shape[1]:
                yield name, weight.mean(1, keepdim=True).repeat(1, 3, 1, 1) * (count / 3)


def with_input(settings: Settings, *, size: int | None, channels: int | None) -> Settings:
    """For square inputs of `size` pixels or for `channels` channels."""
    fixed = settings.pretrained.get("fixed_input_size")
    if fixed is None:
        fixed = _default(settings.architecture).get("fixed_input_size", False)
    return settings.with_input(size=size, channels=channels, fixed=fixed)


def _default(architecture: str) -> dict[str, Any]:
    known = get_pretrained_cfg(architecture)
    if not known:
        return {}
    facts = known.to_dict()  # type: ignore[no-untyped-call]  # timm's
    return parse_pretrained(json.loads(json.dumps(facts)))


def _create(
    settings: Settings, num_classes: int, source: Mapping[str, Any], *, load: bool = False
) -> nn.Module:
    args: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
            for key, value in settings.model_args.items()}  # fmt: skip
    return timm.create_model(
        settings.architecture, pretrained=load, pretrained_cfg=dict(source),
        num_classes=num_classes, **args,
    ).eval()  # fmt: skip
