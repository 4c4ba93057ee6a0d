"""The pooling of a sentence encoder, one vector from the states of a text's tokens, and its files
in the layout of sentence-transformers: `modules.json` (Transformer, Pooling, perhaps Normalize,
Dense) and one folder for each further module. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zooadapt.errors import DataError
from zooadapt.family import FILES, config_keys
from zooadapt_transformers import settings

MODULES, ENCODER = "modules.json", "sentence_bert_config.json"
POOLING = "1_Pooling/config.json"
DENSE_FOLDERS = ("2_Dense", "3_Dense")
"""The folder of a head, without and with a normalisation before it."""
LAYOUT = (MODULES, ENCODER, POOLING, *(f"{folder}/config.json" for folder in DENSE_FOLDERS))
"""Every file of the layout that is read or written, except the tokenizer's."""

MODES = {
    "cls": "first token",
    "mean": "mean of the tokens",
    "max": "maximum over the tokens",
    "mean_sqrt_len_tokens": "sum of the tokens over the root of their number",
    "weightedmean": "mean of the tokens weighted by their positions",
    "lasttoken": "last token",
}
"""sentence-transformers' names of poolings -> in words."""
_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Keys before sentence-transformers 5.5, in the order in which several are concatenated."""


@dataclass(frozen=True)
class Pool:
    """One pooling of the states or the concatenation of several, perhaps scaled to length 1."""

    modes: tuple[str, ...]
    normalize: bool = False

    @property
    def name(self) -> str:
        """In words."""
        scaled = ", scaled to length 1" if self.normalize else ""
        return " and ".join(MODES[mode] for mode in self.modes) + scaled

    @property
    def dense_folder(self) -> str:
        """The folder of an export's head."""
        return DENSE_FOLDERS[self.normalize]


def declared(config: Mapping[str, Any]) -> Pool | None:
    """The source's pooling, by the files of its sentence encoder. None for other sources.

    Raises: DataError for a module or a pooling that is not supported.
    """
    if MODULES not in config.get(FILES, {}):
        return None
    kinds = [kind for kind, _ in modules(config)]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise config_keys.error("type", ", ".join(kinds), "Transformer, then Pooling", file=MODULES)
    described = settings.json_file(config, POOLING)
    chosen = described.get("pooling_mode")
    if chosen is None:
        chosen = [mode for key, mode in _OLD_KEYS.items() if described.get(key)] or ["mean"]
    chosen = [chosen] if isinstance(chosen, str) else chosen
    if not isinstance(chosen, list) or not chosen or not all(c in MODES for c in chosen):
        raise config_keys.error("pooling_mode", chosen, f"one of {', '.join(MODES)}", file=POOLING)
    return Pool(tuple(chosen), normalize=kinds[2:3] == ["Normalize"])


def modules(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind and folder of each module of a sentence encoder, in order.

    Raises: DataError when `modules.json` is no list of modules in the usual folders.
    """
    text = settings.text_file(config, MODULES)
    try:
        rows = json.loads(text)
        listed = [(str(row["type"]).rpartition(".")[2], str(row["path"])) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{MODULES} is no list of modules: {error}",
            thing=MODULES,
            remedy=f"correct the source's {MODULES}",
        ) from error
    for number, (kind, folder) in enumerate(listed):
        usual = "" if number == 0 else f"{number}_{kind}"
        if folder != usual:
            raise config_keys.error("path", folder, f"'{usual}'", file=MODULES)
    return listed


def head_folder(config: Mapping[str, Any]) -> str | None:
    """The folder of a `Dense` module after the pooling that has no activation: a head. None for
    sources without one."""
    pool = declared(config)
    if pool is None:
        return None
    described = f"{pool.dense_folder}/config.json"
    if described not in config.get(FILES, {}) or modules(config)[-1] != (
        "Dense",
        pool.dense_folder,
    ):
        return None
    activation = settings.json_file(config, described).get("activation_function")
    return pool.dense_folder if str(activation).endswith(".Identity") else None


def with_pool(config: Mapping[str, Any], pool: Pool) -> dict[str, Any]:
    """The config of the same encoder with this pooling."""
    files = dict(config.get(FILES, {}))
    for name in LAYOUT:
        files.pop(name, None)
    files |= {MODULES: _modules_json(pool), POOLING: _pooling_json(pool.modes)}
    if ENCODER in config.get(FILES, {}):
        files[ENCODER] = config[FILES][ENCODER]
    return {**config, FILES: files}


def files(
    config: Mapping[str, Any],
    *,
    num_classes: int,
    width: int,
    max_length: int,
    model_args: Mapping[str, Any],
) -> dict[str, str]:
    """The files of an export whose head is a `Dense` module: `SentenceTransformer(folder).encode`
    gives the logits. None for a source that is no sentence encoder. width: of the states;
    model_args: arguments that omit unused parts of the encoder, such as BERT's pooler."""
    pool = declared(config)
    if pool is None:
        return {}
    return {
        MODULES: _modules_json(pool, "Dense"),
        ENCODER: _json({
            "max_seq_length": max_length, "do_lower_case": False, "model_args": dict(model_args),
        }),
        POOLING: _pooling_json(pool.modes, word_embedding_dimension=width),
        f"{pool.dense_folder}/config.json": _json({
            "in_features": width * len(pool.modes), "out_features": num_classes, "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        }),
    }  # fmt: skip


def max_length(config: Mapping[str, Any]) -> float:
    """The sentence encoder's own limit on the tokens of a text; infinity without one.

    Raises: DataError when it is no length.
    """
    if ENCODER not in config.get(FILES, {}):
        return float("inf")
    described = settings.json_file(config, ENCODER)
    kind = config_keys.whole(1)
    return config_keys.get(described, "max_seq_length", kind, float("inf"), file=ENCODER)


def _pooling_json(chosen: tuple[str, ...], **more: int) -> str:
    """In the keys that every release reads, if they can express the order."""
    old = {key: mode in chosen for key, mode in _OLD_KEYS.items()}
    in_order = tuple(mode for key, mode in _OLD_KEYS.items() if old[key]) == chosen
    return _json(more | (old if in_order else {"pooling_mode": list(chosen)}))


def _modules_json(pool: Pool, *more: str) -> str:
    kinds = ("Transformer", "Pooling", *["Normalize"] * pool.normalize, *more)
    return _json([
        {
            "idx": number,
            "name": str(number),
            "path": "" if number == 0 else f"{number}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ])  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
