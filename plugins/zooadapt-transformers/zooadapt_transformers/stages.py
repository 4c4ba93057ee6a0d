"""Networks of transformers split into stages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.family import Activations, Stage
from zooadapt_transformers.attention import RUN_LAYER
from zooadapt_transformers.recipes import RECIPES, Recipe
from zooadapt_transformers.sentence import ENCODER, POOL, SentenceClassifier


def split(net: nn.Module) -> Sequence[Stage]:
    """Embeddings, each layer, pooling. Layers that share their weights are one stage."""
    recipe = recipe_of(net)
    base = ENCODER if isinstance(net, SentenceClassifier) else recipe.base
    encoder = net.get_submodule(base)
    stem = _steps(encoder, recipe.stem)
    attends = recipe.modality == "text"
    norm = _steps(encoder, recipe.norm)
    owned = {
        part: tuple(f"{base}.{path}" for path in modules(encoder, paths))
        for part, paths in (("stem", recipe.stem + recipe.shared), ("norm", recipe.norm))
    }
    tail_owns: tuple[str, ...]
    if isinstance(net, SentenceClassifier):
        tail, tail_owns = list[Step]((net.pooling,)), ("pooling",)
    else:
        tail, tail_owns = _steps(net, recipe.tail), modules(net, recipe.tail)
    return (
        Stage(
            name="embeddings",
            run=_read_text(encoder, stem) if attends else _read_image(stem),
            owns=owned["stem"],
        ),
        *_layers(encoder, base),
        Stage(
            name="pooling",
            run=_pool(norm, tail, attends=attends),
            owns=(*owned["norm"], *tail_owns),
        ),
    )


def recipe_of(net: nn.Module) -> Recipe:
    """The recipe of a network that `build` made."""
    config: Any = net.config
    return RECIPES[config.model_type]


def _layers(encoder: nn.Module, base: str) -> list[Stage]:
    recipe = recipe_of(encoder)
    run_layer = RUN_LAYER[recipe.attention]
    if recipe.one_stage:
        whole = encoder.get_submodule(recipe.one_stage)
        return [
            Stage(
                name="layers",
                run=_layer(encoder, whole, run_layer),
                owns=(f"{base}.{recipe.one_stage}",),
                note="its layers share their weights, so they are frozen or trained together",
            )
        ]
    kind = recipe.layers.rpartition(".")[2].removesuffix("s")
    return [
        Stage(
            name=f"{kind}{k}",
            run=(
                _layer(encoder, layer, run_layer)
                if recipe.modality == "text"
                else _step_on_states(layer)
            ),
            owns=(f"{base}.{recipe.layers}.{k}",),
        )
        for k, layer in enumerate(encoder.get_submodule(recipe.layers).children())
    ]


Step = Callable[..., Tensor]
"""States and, for texts, the mask of their tokens to the output of the step; embeddings take
`token_type_ids` by name, if there are any."""
Run = Callable[[Activations], Activations]


def _read_text(encoder: nn.Module, stem: Sequence[Step]) -> Run:
    config: Any = encoder.config
    padding = config.pad_token_id
    embeddings, *more = stem

    def run(activations: Activations) -> Activations:
        mask = activations["attention_mask"]
        ids = _trimmed(activations["input_ids"], mask)
        mask = _trimmed(mask, mask)
        if padding:
            # The core pads with zeros, and RoBERTa counts positions from its own padding token.
            ids = ids.masked_fill(mask == 0, padding)
        types = {}
        if "token_type_ids" in activations:
            types["token_type_ids"] = _trimmed(
                activations["token_type_ids"], activations["attention_mask"]
            )
        states = embeddings(ids, mask, **types)
        return {"states": _through(more, states, mask), "attention_mask": mask}

    return run


def _layer(encoder: nn.Module, layer: nn.Module, run_layer: Callable[..., Tensor]) -> Run:
    def run(activations: Activations) -> Activations:
        mask = activations["attention_mask"]
        states = _trimmed(activations["states"], mask)
        mask = _trimmed(mask, mask)
        return {"states": run_layer(encoder, layer, states, mask), "attention_mask": mask}

    return run


def _read_image(stem: Sequence[Step]) -> Run:
    return lambda activations: {"states": _through(stem, activations["pixel_values"], None)}


def _step_on_states(layer: nn.Module) -> Run:
    return lambda activations: {"states": layer(activations["states"])}


def _pool(norm: Sequence[Step], tail: Sequence[Step], *, attends: bool) -> Run:
    def run(activations: Activations) -> Activations:
        states, mask = activations["states"], None
        if attends:
            mask = activations["attention_mask"]
            states, mask = _trimmed(states, mask), _trimmed(mask, mask)
        return {"features": _through([*norm, *tail], states, mask)}

    return run


def _through(steps: Sequence[Step], x: Tensor, mask: Tensor | None) -> Tensor:
    for step in steps:
        x = step(x, mask)
    return x


def _trimmed(sequence: Tensor, mask: Tensor) -> Tensor:
    """Without the positions after the end of all texts: so surplus padding costs nothing, stays
    within the network's positions, and cannot change the rounding of a sum."""
    return sequence[:, : int(mask.sum(dim=1).max())]


def _operations(net: nn.Module) -> dict[str, Step]:
    """Operations that transformers has in forward methods instead of modules."""
    config: Any = net.config
    registers = getattr(config, "num_register_tokens", 0)
    return {
        "first()": lambda x, mask: x[:, 0],
        "classifier_pooling()": lambda x, mask: POOL[config.classifier_pooling](x, mask),
        "tanh()": lambda x, mask: torch.tanh(x),
        "relu()": lambda x, mask: torch.relu(x),
        "mean_pixel()": lambda x, mask: x.mean((-2, -1)),
        "first_and_mean_patch()": lambda x, mask: torch.cat(
            (x[:, 0], x[:, 1 + registers :].mean(dim=1)), dim=1
        ),
    }


def _steps(net: nn.Module, names: Sequence[str]) -> list[Step]:
    operations = _operations(net)
    paths = modules(net, names)
    return [
        operations[name] if name.endswith("()") else _call(net, name.removesuffix("?"))
        for name in names
        if name.endswith("()") or name.removesuffix("?") in paths
    ]


def _call(net: nn.Module, path: str) -> Step:
    module = net.get_submodule(path)
    if "mask" in inspect.signature(module.forward).parameters:  # DeBERTa's embeddings
        return lambda x, mask, **types: module(x, mask=mask, **types)
    return lambda x, mask, **types: module(x, **types)


def modules(net: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The submodules among the steps, each once, without those that the network lacks."""
    present = {path for path, _ in net.named_modules()}
    paths = [name for name in names if not name.endswith("()")]
    own = [name for name in paths if not name.endswith("?") or name[:-1] in present]
    return tuple(dict.fromkeys(name.removesuffix("?") for name in own))
