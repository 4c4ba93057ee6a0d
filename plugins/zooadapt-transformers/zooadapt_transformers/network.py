"""Networks of transformers: built, loaded and split into stages.

A text network is either transformers' own classifier or, by the files of the source, a
`SentenceClassifier`: an encoder, a sentence encoder's pooling and a linear head.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import logging

from zooadapt.errors import DataError
from zooadapt.family import Activations, Stage
from zooadapt_transformers import pooling, settings
from zooadapt_transformers.attention import RUN_LAYER
from zooadapt_transformers.recipes import RECIPES, Recipe
from zooadapt_transformers.sentence import ENCODER, POOL, SentenceClassifier

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
            net: nn.Module = getattr(transformers, recipe.network)(parsed)
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
    return _recipe_of(net).head


def _recipe_of(net: nn.Module) -> Recipe:
    config: Any = net.config
    return RECIPES[config.model_type]


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
    for path in _modules(net, recipe.tail):
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


def stages(net: nn.Module) -> Sequence[Stage]:
    """Embeddings, each layer, pooling. Layers that share their weights are one stage."""
    recipe = _recipe_of(net)
    base = ENCODER if isinstance(net, SentenceClassifier) else recipe.base
    encoder = net.get_submodule(base)
    stem = _steps(encoder, recipe.stem)
    attends = recipe.modality == "text"
    norm = _steps(encoder, recipe.norm)
    owned = {
        part: tuple(f"{base}.{path}" for path in _modules(encoder, paths))
        for part, paths in (("stem", recipe.stem + recipe.shared), ("norm", recipe.norm))
    }
    tail_owns: tuple[str, ...]
    if isinstance(net, SentenceClassifier):
        tail, tail_owns = list[Step]((net.pooling,)), ("pooling",)
    else:
        tail, tail_owns = _steps(net, recipe.tail), _modules(net, recipe.tail)
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


def _layers(encoder: nn.Module, base: str) -> list[Stage]:
    recipe = _recipe_of(encoder)
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
    paths = _modules(net, names)
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


def _modules(net: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The submodules among the steps, each once, without those that the network lacks."""
    present = {path for path, _ in net.named_modules()}
    paths = [name for name in names if not name.endswith("()")]
    own = [name for name in paths if not name.endswith("?") or name[:-1] in present]
    return tuple(dict.fromkeys(name.removesuffix("?") for name in own))


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
