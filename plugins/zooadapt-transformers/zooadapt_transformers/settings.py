"""A source's files, reduced to known keys, plain types and bounds.

A `config.json` of transformers can name code on the Hub, quantisation kernels, attention kernels
and files. Only the fields that the network's own config class declares are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError
from zooadapt.family import FILES, config_keys
from zooadapt_transformers.recipes import RECIPES, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LARGEST = 1 << 22
_LONGEST = 1 << 10
_MOST_VALUES = 3_000_000
"""Separators of a JSON file; tokenizers of a quarter of a million tokens have two million."""
_REMOTE = ("auto_map", "custom_pipelines", "trust_remote_code")
_REFUSED = {
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "position_embedding_type": ("absolute", None),
    "conv_kernel_size": (0, None),
    "use_weighted_layer_sum": (False, None),
    "add_adapter": (False, None),
    "quantization_config": (None,),
}
"""Keys that would make another network of the same weights -> the values that are accepted."""
TASKS: Mapping[str, Mapping[str, Any]] = {
    "multilabel": {"problem_type": "multi_label_classification"},
    "regression": {"problem_type": "regression"},
}
"""The keys by which transformers knows a task that is no classification."""


def several(config: Mapping[str, Any]) -> bool:
    """Whether a sample has several of the labels."""
    return TASKS["multilabel"].items() <= config.items()


def recipe(config: Mapping[str, Any]) -> Recipe:
    """The recipe of a config that one of the families claims.

    Raises: DataError when the config names code, or a variant that is not supported.
    """
    kind = config_keys.get(config, "model_type", config_keys.choice(*RECIPES))
    for key in _REMOTE:
        if config.get(key):
            raise DataError(
                f"config.json: '{key}' names code of the source, which zooadapt never runs",
                thing=key,
                remedy="use a model whose code is part of transformers",
            )
    for key, harmless in _REFUSED.items():
        if key == "is_encoder_decoder" and RECIPES[kind].encoder_of_two:
            continue
        if config.get(key) not in harmless:
            raise config_keys.error(
                key, config[key], f"{harmless[0]}: zooadapt supports no other variant"
            )
    return RECIPES[kind]


def fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a `config.json` that define the network, each plain and bounded.

    Raises: DataError naming the key that is not.
    """
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    recipe, own = RECIPES[config["model_type"]], CONFIG_MAPPING[config["model_type"]]
    declared = set(own.__dataclass_fields__)
    declared -= set(PreTrainedConfig.__dataclass_fields__)
    declared |= set(recipe.undeclared)
    known = {key: config[key] for key in sorted(declared & set(config))}
    for key, value in known.items():
        _check_plain(key, value)
    known |= dict.fromkeys(recipe.without, 0.0)
    if recipe.width is not None and "Classification" not in str(config.get("architectures")):
        width = known.get(recipe.width, own.__dataclass_fields__[recipe.width].default)
        known["classifier_proj_size"] = width
    return known


def parse(config: Mapping[str, Any], num_classes: int) -> PreTrainedConfig:
    """The network's config object, with `num_classes` labels, checked by transformers.

    Raises: DataError for a key of a wrong type or value, and as `recipe` and `fields`.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    kind, values = recipe(config), fields(config)
    for key in ("hidden_act", "activation", "activation_function", "feat_extract_activation"):
        if key in values and values[key] not in list(transformers.activations.ACT2FN):
            raise config_keys.error(key, values[key], "an activation of transformers")
    if kind.padding_token not in (None, values.get("pad_token_id", kind.padding_token)):
        raise config_keys.error("pad_token_id", values["pad_token_id"], str(kind.padding_token))
    if kind.counts_padding and values.get("pad_token_id", 1) is None:
        raise config_keys.error(
            "pad_token_id", None, "a token's row: positions are counted from it"
        )
    try:
        kind_of_config: Any = transformers.CONFIG_MAPPING[config["model_type"]]
        parsed: PreTrainedConfig = kind_of_config(**values, num_labels=num_classes)
        return parsed
    except (TypeError, ValueError, StrictDataclassError) as error:
        why = " ".join(str(error).split())
        raise DataError(
            f"config.json: transformers refuses it: {why[:200]}",
            thing="config.json",
            remedy="correct the source's config.json",
        ) from error


def native(config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """The `config.json` that transformers' own loaders expect, for a head with these classes."""
    return {
        "model_type": config["model_type"],
        "architectures": [recipe(config).network],
        **fields(config),
        "id2label": {str(row): name for row, name in enumerate(classes)},
        "label2id": {name: row for row, name in enumerate(classes)},
        "dtype": "float32",
    }


def labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The source head's classes in order; None if they have numbers alone."""
    labels_by_id = config.get("id2label")
    if not isinstance(labels_by_id, Mapping) or not labels_by_id:
        return None
    try:
        by_row = {int(row): name for row, name in labels_by_id.items()}
    except ValueError:
        return None
    if sorted(by_row) != list(range(len(by_row))):
        return None
    names = tuple(by_row[row] for row in range(len(by_row)))
    if not all(isinstance(name, str) for name in names):
        return None
    return None if all(name == f"LABEL_{row}" for row, name in enumerate(names)) else names


def text_file(config: Mapping[str, Any], name: str) -> str:
    """A further file of the source.

    Raises: DataError when the source has none of that name.
    """
    text: str | None = config.get(FILES, {}).get(name)
    if text is None:
        raise DataError(
            f"the source has no {name}, so zooadapt cannot preprocess its input as in training",
            thing=name,
            remedy=f"save it again with a transformers version that writes {name}",
        )
    return text


def json_file(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A further file of the source, parsed.

    Raises: DataError when there is none, it is no JSON object, or it names code.
    """
    return parsed_json(text_file(config, name), name)


def parsed_json(text: str, name: str) -> dict[str, Any]:
    """The text of the file `name`, parsed.

    Raises: DataError when it is no JSON object, holds too much, or names code.
    """
    # Counted before parsing: a hostile text of a few megabytes makes objects of a gigabyte.
    if (count := text.count(",") + text.count(":")) > _MOST_VALUES:
        raise DataError(
            f"{name} holds {count:,} values or more, the limit is {_MOST_VALUES:,}",
            thing=name,
            remedy="choose another source",
        )
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid JSON: {error}", thing=name) from error
    if not isinstance(parsed, dict):
        raise DataError(f"{name} is not a JSON object", thing=name)
    if parsed.get("auto_map"):
        raise DataError(
            f"{name}: 'auto_map' names code of the source, which zooadapt never runs",
            thing=name,
            remedy="use a model whose code is part of transformers",
        )
    return parsed


def _check_plain(key: str, value: Any) -> None:
    if isinstance(value, list):
        if len(value) > _LONGEST:
            raise config_keys.error(key, value, f"at most {_LONGEST} values")
        for part in value:
            _check_plain(key, part)
    elif isinstance(value, dict) and key.startswith("rope_"):
        if len(value) > _LONGEST:
            raise config_keys.error(key, value, f"at most {_LONGEST} keys")
        for name, part in value.items():
            _check_plain(f"{key}.{name}", part)
    elif isinstance(value, str):
        if len(value) > _LONGEST:
            raise config_keys.error(key, value, "a short name")
    elif isinstance(value, (int, float)):
        limit = _LONGEST if "layers" in key or "depth" in key else _LARGEST
        if not math.isfinite(value) or abs(value) > limit:
            raise config_keys.error(key, value, f"a number of at most {limit}")
    elif value is not None:
        raise config_keys.error(key, value, "a number, a name or a list of them")
