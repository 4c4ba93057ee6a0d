"""The command line's options as parameters of Python: names, kinds, defaults."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar

from zooadapt.data import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime import ranges
from zooadapt.training.config import Request

P, R = ParamSpec("P"), TypeVar("R")


class ReadingOptions(TypedDict, total=False):
    """How data is read; `zooadapt.data.ReadOptions` says what each means."""

    text_column: str
    label_column: str
    group_column: str | None
    encoding: str
    separator: str | None
    skip_bad: bool
    allow_tiny: bool
    drop_unlabelled: bool
    train_folder: str | None
    test_folder: str | None
    follow_links: bool
    strict: bool
    max_pixels: int


class AdaptOptions(ReadingOptions, total=False):
    """The options of `zooadapt adapt`, with `_` for `-`; `zooadapt adapt --help` explains them."""

    strategy: str
    budget: float | str | None
    epochs: int | None
    lr: float | None
    patience: int | None
    batch_size: int | None
    optimizer: str
    head: str
    precision: str
    norm_statistics: str
    augment: str
    stage_decay: float | None
    label_smoothing: float | None
    tune: str
    lora_rank: int
    ema: float
    soup: int
    mixup: float
    cutmix: float
    l2sp: float
    imbalance: str
    metric: str
    weight_decay: float | None
    seed: int
    val_fraction: float
    refit: bool
    folds: int | None
    suspects: str | PathLike[str] | None
    drop_suspects: bool
    relabel_suspects: bool
    labels_per_class: int | None
    checkpoint_seconds: float
    cache_gb: float
    views: int
    unlabelled: str | PathLike[str] | None
    input_size: int | None
    in_chans: int | None
    crop: str
    max_length: int | None
    from_scratch: bool
    overwrite: bool
    resume: bool
    offline: bool
    deterministic_plan: bool


NO_OPTIONS = frozenset({"source", "data", "out", "plan_only", "reading", "typed", "white"})
"""Fields that are parameters of their own, or nobody's choice."""
_FIELDS: dict[str, Field[Any]] = {
    one.name: one for kind in (Request, ReadOptions) for one in fields(kind)
    if one.name not in NO_OPTIONS
}  # fmt: skip
OPTIONS: Mapping[str, Any] = {
    name: one.default for name, one in _FIELDS.items() if one.default is not MISSING
}
"""Every option of `adapt` with its default."""
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "Path": (str, PathLike), "bool": (bool,), "int": (Integral,), "float": (Real,),
}  # fmt: skip


def request_of(
    source: str | PathLike[str], data: str, out: Path, options: Mapping[str, Any], *, plan: bool
) -> Request:
    """The request that these options make.

    Raises: UsageError naming an option that there is none of, or a value of another kind.
    """
    values = _checked(options)
    reading = {one.name for one in fields(ReadOptions)}
    return Request(
        source=fspath(source),
        data=data,
        out=out,
        plan_only=plan,
        typed=frozenset(options),
        reading=ReadOptions(**{name: v for name, v in values.items() if name in reading}),
        **{name: value for name, value in values.items() if name not in reading},
    )


def reading_of(options: Mapping[str, Any]) -> ReadOptions:
    """How data is to be read, by these options.

    Raises: as `request_of`.
    """
    known = {one.name for one in fields(ReadOptions)} & set(OPTIONS)
    return ReadOptions(**_checked(options, known))


def shows_options(function: Callable[P, R]) -> Callable[P, R]:
    """Have `help` and a notebook's completion list each option of `adapt` with its default, in
    place of `**options`."""
    own = inspect.signature(function)
    parameters = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_FIELDS[name].type
        )
        for name, default in OPTIONS.items()
        if name not in own.parameters
    ]
    function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def _checked(options: Mapping[str, Any], known: frozenset[str] | set[str] = frozenset(OPTIONS)):
    """The options with plain values: numbers of numpy and paths too are what they stand for."""
    values = {}
    for name, value in options.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"there is no parameter '{name}'"
                + (f"; did you mean '{close[0]}'?" if close else ""),
                thing=name,
                remedy=close[0] if close else "help(zooadapt.adapt)",
            )
        values[name] = _plain(name, value, str(_FIELDS[name].type))
    return values


def _plain(name: str, value: Any, annotation: str) -> Any:
    kinds = [kind.strip() for kind in annotation.split("|")]
    if value is None and "None" in kinds:
        return None
    if name == "budget" and isinstance(value, str):
        try:
            return ranges.seconds(value)
        except ValueError as error:
            raise UsageError(
                f"budget={value!r} is no time", thing=name, remedy="write '90s', '10m' or '1h'"
            ) from error
    kind = kinds[0]
    if type(value).__name__ in ("bool_", "bool") and kind == "bool":
        return bool(value)
    if isinstance(value, PathLike) and kind in ("str", "Path") and name in ("unlabelled",):
        value = fspath(value)
    if isinstance(value, bool) or not isinstance(value, _KINDS[kind]):
        raise UsageError(
            f"{name}={value!r} is of type '{type(value).__name__}', and it takes "
            f"{' or '.join(kinds)}",
            thing=name,
            remedy="help(zooadapt.adapt)",
        )
    convert = {"int": int, "float": float, "Path": Path}.get(kind)
    return value if convert is None else convert(value)
