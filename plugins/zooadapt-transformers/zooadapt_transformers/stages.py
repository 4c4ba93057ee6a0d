"""Networks of transformers split into stages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.family import Activations, Stage
from zooadapt_transformers import waveform
from zooadapt_transformers.attention import RUN_LAYER, RunLayer
from zooadapt_transformers.recipes import RECIPES, Recipe
from zooadapt_transformers.sentence import ENCODER, POOL, SentenceClassifier


def split(net: nn.Module) -> Sequence[Stage]:
    """Embeddings, each layer, pooling. Layers that share their weights are one stage."""
    recipe = recipe_of(net)
    base = ENCODER if isinstance(net, SentenceClassifier) else recipe.base
    encoder = net.get_submodule(base)
    attends = recipe.attention is not None
    first, last = _parts(recipe, encoder)
    norm = _steps(encoder, last)
    owned = {
        part: tuple(f"{base}.{path}" for path in modules(encoder, paths))
        for part, paths in (("stem", first + recipe.shared), ("norm", last))
    }
    tail_owns: tuple[str, ...]
    if isinstance(net, SentenceClassifier):
        tail, tail_owns = list[Step]((net.pooling,)), ("pooling",)
    else:
        tail, tail_owns = _steps(net, recipe.tail), modules(net, recipe.tail)
    return (
        Stage(
            name="embeddings",
            run=_read(recipe, encoder),
            owns=owned["stem"],
        ),
        *_layers(encoder, base),
        Stage(
            name="pooling",
            run=_pool(norm, tail, attends=attends),
            owns=(*owned["norm"], *tail_owns),
        ),
    )


def _parts(recipe: Recipe, encoder: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The steps before the layers, and those of the norm after them."""
    config: Any = encoder.config
    if recipe.norm_last is not None and not getattr(config, recipe.norm_last):
        return recipe.stem + recipe.norm, ()
    return recipe.stem, recipe.norm


def _read(recipe: Recipe, encoder: nn.Module) -> Run:
    if recipe.waveform:
        return waveform.read(encoder)
    stem = _steps(encoder, recipe.stem)
    if recipe.attention is not None:
        return _read_text(encoder, stem)
    return lambda activations: {"states": _through(stem, activations[recipe.reads], None)}


def recipe_of(net: nn.Module) -> Recipe:
    """The recipe of a network that `build` made."""
    config: Any = net.config
    return RECIPES[config.model_type]


def _layers(encoder: nn.Module, base: str) -> list[Stage]:
    recipe = recipe_of(encoder)
    run_layer = RUN_LAYER[recipe.attention] if recipe.attention else None
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
            run=_layer(encoder, layer, run_layer),
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


def _layer(encoder: nn.Module, layer: nn.Module, run_layer: RunLayer | None) -> Run:
    takes_mask = "attention_mask" in inspect.signature(layer.forward).parameters

    def alone(activations: Activations) -> Activations:
        states = activations["states"]
        return {"states": layer(states, None) if takes_mask else layer(states)}

    def attending(activations: Activations) -> Activations:
        mask = activations["attention_mask"]
        states = _trimmed(activations["states"], mask)
        mask = _trimmed(mask, mask)
        assert run_layer is not None
        return {"states": run_layer(encoder, layer, states, mask), "attention_mask": mask}

    return alone if run_layer is None else attending


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
    if torch.compiler.is_exporting():  # a length that depends on data has no shape in a graph
        return sequence
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
        "gelu()": lambda x, mask: nn.functional.gelu(x),
        "mean_frame()": lambda x, mask: x.mean(dim=1) if mask is None else POOL["mean"](x, mask),
        "mean_of_first_two()": lambda x, mask: (x[:, 0] + x[:, 1]) / 2,
        "positions()": lambda x, mask: _with_positions(net, x),
        "dropout()": lambda x, mask: nn.functional.dropout(
            x, config.dropout, training=net.get_submodule("embed_positions").training
        ),
        "mean_pixel()": lambda x, mask: x.mean((-2, -1)),
        "first_and_mean_patch()": lambda x, mask: torch.cat(
            (x[:, 0], x[:, 1 + registers :].mean(dim=1)), dim=1
        ),
    }


def _with_positions(net: nn.Module, x: Tensor) -> Tensor:
    """States `(N, T, D)` with learned positions, of channels before steps, `(N, D, T)`."""
    positions = net.get_submodule("embed_positions")
    states: Tensor = x.transpose(1, 2) + positions(torch.arange(x.shape[2], device=x.device))
    return states


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
