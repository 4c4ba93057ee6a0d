"""Networks of transformers: built, loaded and cut into stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import logging

from zooadapt.errors import DataError
from zooadapt.family import Carry, Stage
from zooadapt_transformers import settings
from zooadapt_transformers.recipes import RECIPES


def build(config: Mapping[str, Any], num_classes: int) -> transformers.PreTrainedModel:
    """The network with random weights, in eval mode.

    Raises: DataError for a config that does not make a network.
    """
    recipe, parsed = settings.recipe(config), settings.parse(config, num_classes)
    network = getattr(transformers, recipe.network)
    try:
        return network(parsed).eval()
    except (ValueError, RuntimeError, TypeError, IndexError, ZeroDivisionError) as error:
        why = " ".join(str(error).split())
        raise DataError(
            f"config.json makes no {recipe.network}: {why[:200]}",
            thing="config.json",
            remedy="correct the source's config.json",
        ) from error


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of any head and any release of transformers under the classifier's names.

    transformers itself does the renaming, by loading. A pretrained encoder has no dense layer
    before the head, where the classifier wants one: it starts as the identity, which passes on what
    the encoder computed, where random weights would blur it.
    """
    recipe = settings.recipe(config)
    head = state.get(f"{recipe.head}.weight")
    classes = 2 if head is None else head.shape[0]
    network = getattr(transformers, recipe.network)
    with _quiet():
        net, loaded = network.from_pretrained(
            None,
            config=settings.parse(config, classes),
            state_dict=dict(state),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    fresh = set(loaded["missing_keys"])
    converted = {name: t for name, t in net.state_dict().items() if name not in fresh}
    for name, given, _ in loaded["mismatched_keys"]:
        converted[name] = torch.empty(given, device="meta")  # the core tells both shapes
    for path in _modules(net, recipe.tail):
        for name, module in net.get_submodule(path).named_modules(prefix=path):
            if isinstance(module, nn.Linear) and {f"{name}.weight", f"{name}.bias"} <= fresh:
                converted[f"{name}.weight"] = torch.eye(*module.weight.shape)
                converted[f"{name}.bias"] = torch.zeros(module.bias.shape)
    return converted


def stages(net: transformers.PreTrainedModel) -> Sequence[Stage]:
    """Embeddings, each layer, pooling."""
    recipe = RECIPES[net.config.model_type]
    stem, tail = _steps(net, recipe.stem), _steps(net, recipe.tail)
    attends = recipe.modality == "text"
    kind = recipe.layers.rpartition(".")[2].removesuffix("s")
    layers = [
        Stage(
            name=f"{kind}{k}",
            run=_layer(net, layer) if attends else _step_on_states(layer),
            owns=(f"{recipe.layers}.{k}",),
        )
        for k, layer in enumerate(net.get_submodule(recipe.layers))
    ]
    return (
        Stage(
            name="embeddings",
            run=_read_text(net, stem) if attends else _read_image(stem),
            owns=_modules(net, recipe.stem),
        ),
        *layers,
        Stage(name="pooling", run=_pool(tail), owns=_modules(net, recipe.tail)),
    )


Step = Callable[[Tensor], Tensor]


def _read_text(net: transformers.PreTrainedModel, stem: Sequence[Step]) -> Callable:
    padding = net.config.pad_token_id

    def run(carry: Carry) -> Carry:
        mask = carry["attention_mask"]
        ids = _trimmed(carry["input_ids"], mask)
        mask = _trimmed(mask, mask)
        if padding:
            # A batch is padded with zeros, and RoBERTa counts positions by comparing with its own
            # padding token.
            ids = ids.masked_fill(mask == 0, padding)
        return {"states": _through(stem, ids), "attention_mask": mask}

    return run


def _layer(net: transformers.PreTrainedModel, layer: nn.Module) -> Callable:
    def run(carry: Carry) -> Carry:
        mask = carry["attention_mask"]
        states = _trimmed(carry["states"], mask)
        mask = _trimmed(mask, mask)
        attention = create_bidirectional_mask(
            config=net.config, inputs_embeds=states, attention_mask=mask
        )
        return {"states": layer(states, attention), "attention_mask": mask}

    return run


def _read_image(stem: Sequence[Step]) -> Callable:
    return lambda carry: {"states": _through(stem, carry["pixel_values"])}


def _step_on_states(layer: nn.Module) -> Callable:
    return lambda carry: {"states": layer(carry["states"])}


def _pool(tail: Sequence[Step]) -> Callable:
    return lambda carry: {"features": _through(tail, carry["states"])}


def _through(steps: Sequence[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


def _trimmed(sequence: Tensor, mask: Tensor) -> Tensor:
    """Without the positions past every text's end: surplus padding costs nothing, runs into no
    limit on positions, and cannot even change how a sum is rounded."""
    return sequence[:, : int(mask.sum(dim=1).max())]


def _operations(net: transformers.PreTrainedModel) -> dict[str, Step]:
    """What transformers writes out in a forward method instead of a module."""
    registers = getattr(net.config, "num_register_tokens", 0)
    return {
        "first()": lambda x: x[:, 0],
        "tanh()": torch.tanh,
        "relu()": torch.relu,
        "mean_pixel()": lambda x: x.mean((-2, -1)),
        "first_and_mean_patch()": lambda x: torch.cat(
            (x[:, 0], x[:, 1 + registers :].mean(dim=1)), dim=1
        ),
    }


def _steps(net: transformers.PreTrainedModel, names: Sequence[str]) -> list[Step]:
    operations = _operations(net)
    paths = _modules(net, names)
    return [
        operations[name] if name.endswith("()") else net.get_submodule(name.removesuffix("?"))
        for name in names
        if name.endswith("()") or name.removesuffix("?") in paths
    ]


def _modules(net: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The submodules among the steps, each once, without those that this size lacks."""
    present = {path for path, _ in net.named_modules()}
    paths = [name for name in names if not name.endswith("()")]
    there = [name for name in paths if not name.endswith("?") or name[:-1] in present]
    return tuple(dict.fromkeys(name.removesuffix("?") for name in there))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bar and its table of keys: the core reports both."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
