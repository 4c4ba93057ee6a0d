"""Networks of transformers: built and loaded.

A text network is either transformers' own classifier or, by the files of the source, a
`SentenceClassifier`: an encoder, a sentence encoder's pooling and a linear head.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import logging

from zooadapt.errors import DataError
from zooadapt_transformers import pooling, settings
from zooadapt_transformers.sentence import ENCODER, SentenceClassifier
from zooadapt_transformers.stages import modules, recipe_of
from zooadapt_transformers.waveform import normalises_over_time, one_by_one

_FAULTS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What transformers raises for a config that does not make a network."""


def build(config: Mapping[str, Any], num_classes: int) -> nn.Module:
    """The network with random weights, in eval mode.

    Raises: DataError for a config that does not make a network.
    """
    recipe, parsed = settings.recipe(config), settings.parse(config, num_classes)
    pool = pooling.declared(config)
    try:
        if pool is None:
            own = getattr(transformers, recipe.network)
            if recipe.waveform and normalises_over_time(parsed):
                own = one_by_one(own)
            net: nn.Module = own(parsed)
            return net.eval()
        kind = encoder_class(parsed)
        return SentenceClassifier(kind(parsed, **without_pooler(kind)), pool, num_classes).eval()
    except _FAULTS as error:
        why = " ".join(str(error).split())
        raise DataError(
            f"config.json makes no {recipe.network}: {why[:200]}",
            thing="config.json",
            remedy="correct the source's config.json",
        ) from error


def encoder_class(parsed: transformers.PreTrainedConfig) -> type[transformers.PreTrainedModel]:
    """The class of the network without a head."""
    mapping: Any = transformers.MODEL_MAPPING
    kind: type[transformers.PreTrainedModel] = mapping[type(parsed)]
    return kind


def without_pooler(kind: type[transformers.PreTrainedModel]) -> dict[str, bool]:
    """Arguments that omit the dense layer for the first token, if the class has one."""
    has_pooler = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if has_pooler else {}


def head(net: nn.Module) -> str:
    """Path of the linear head."""
    if isinstance(net, SentenceClassifier):
        return "classifier"
    return recipe_of(net).head


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of any head and any release of transformers under the network's names: transformers
    renames them when it loads them."""
    if pooling.declared(config) is None:
        return _convert_classifier(state, config)
    parsed = settings.parse(config, 1)
    kind = encoder_class(parsed)
    encoder = {name: t for name, t in state.items() if "/" not in name}
    net, loaded = _load(kind, parsed, encoder, **without_pooler(kind))
    converted = _loaded_state(net, loaded)
    converted = {f"{ENCODER}.{name}": tensor for name, tensor in converted.items()}
    if folder := pooling.head_folder(config):
        for part in ("weight", "bias"):
            if (name := f"{folder}/linear.{part}") in state:
                converted[f"classifier.{part}"] = state[name]
    return converted


def native_state(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The inverse of `convert`: a sentence encoder's tensors under the encoder's own names, the
    head's under those of its `Dense` module."""
    pool = pooling.declared(config)
    if pool is None:
        return state
    renamed = {}
    for name, tensor in state.items():
        part = name.removeprefix("classifier.")
        dense = f"{pool.dense_folder}/linear.{part}"
        renamed[name.removeprefix(f"{ENCODER}.") if part == name else dense] = tensor
    return renamed


def _convert_classifier(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors under the classifier's names.

    The dense layer before the head, which a pretrained encoder lacks, starts as the identity, so
    that the head sees the encoder's output. Norms before the head start as they are built.
    """
    recipe = settings.recipe(config)
    head = state.get(f"{recipe.head}.weight")
    classes = 2 if head is None else head.shape[0]
    net, loaded = _load(
        getattr(transformers, recipe.network), settings.parse(config, classes), state
    )
    fresh = set(loaded["missing_keys"])
    converted = _loaded_state(net, loaded)
    for path in modules(net, recipe.tail):
        for name, module in net.get_submodule(path).named_modules(prefix=path):
            for part, tensor in module.named_parameters(prefix=name, recurse=False):
                if part in fresh:
                    linear = isinstance(module, nn.Linear)
                    identity = linear and tensor.ndim == 2
                    start = torch.eye(*tensor.shape) if identity else torch.zeros(tensor.shape)
                    converted[part] = start if linear else tensor.detach()
    return converted


def _load(
    kind: type[transformers.PreTrainedModel],
    parsed: transformers.PreTrainedConfig,
    state: Mapping[str, Tensor],
    **options: bool,
) -> tuple[transformers.PreTrainedModel, Mapping[str, Any]]:
    from_pretrained: Callable[..., Any] = kind.from_pretrained
    with _quiet():
        net, loaded = from_pretrained(
            None,
            config=parsed,
            state_dict=dict(state),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    return net, loaded


def _loaded_state(net: nn.Module, loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the file, under the network's names."""
    fresh = set(loaded["missing_keys"])
    state = {name: tensor for name, tensor in net.state_dict().items() if name not in fresh}
    for name, shape, _ in loaded["mismatched_keys"]:
        state[name] = torch.empty(shape, device="meta")  # the core names both shapes
    return state


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bar and table of keys: the core reports both."""
    library: Any = logging  # its functions have no annotations
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            library.enable_progress_bar()
