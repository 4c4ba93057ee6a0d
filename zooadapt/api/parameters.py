"""The command line's options as parameters of Python: names, kinds, defaults."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar

from zooadapt.data.options import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime.options import Option, options_of
from zooadapt.training.config import Request
from zooadapt.training.options import AdaptOptions

P, R = ParamSpec("P"), TypeVar("R")


class ReadParameters(TypedDict, total=False):
    """The fields of `zooadapt.data.ReadOptions` that are options, for type checkers."""

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


class AdaptParameters(ReadParameters, total=False):
    """Those and the fields of `zooadapt.training.options.AdaptOptions`, for type checkers;
    `zooadapt adapt --help` explains them."""

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


OPTIONS: Mapping[str, Option] = {**options_of(AdaptOptions), **options_of(ReadOptions)}
"""Every option of `adapt`."""
_ACCEPTED: Mapping[type, tuple[type, ...]] = {
    str: (str, PathLike), Path: (str, PathLike), bool: (bool,), int: (Integral,), float: (Real,),
}  # fmt: skip


def request_of(
    source: str | PathLike[str], data: str, out: Path, options: Mapping[str, Any], *, plan: bool
) -> Request:
    """The request that these options make.

    Raises: UsageError naming an option that there is none of, or a value of another kind.
    """
    values = checked(options, OPTIONS)
    reading = {name: values.pop(name) for name in options_of(ReadOptions) if name in values}
    return Request(
        source=fspath(source),
        data=data,
        out=out,
        plan_only=plan,
        typed=frozenset(options),
        reading=ReadOptions(**reading),
        **values,
    )


def reading_of(options: Mapping[str, Any]) -> ReadOptions:
    """How data is to be read, by these options.

    Raises: as `request_of`.
    """
    return ReadOptions(**checked(options, options_of(ReadOptions)))


def checked(values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """The values as plain ones: numbers of numpy and paths are what they stand for.

    Raises: UsageError naming an option that is none of these, or a value of another kind.
    """
    for name in values.keys() - options.keys():
        (close,) = difflib.get_close_matches(name, options, n=1) or [""]
        raise UsageError(
            f"there is no parameter '{name}'" + (f"; did you mean '{close}'?" if close else ""),
            thing=name,
            remedy=close,
        )
    return {name: _plain(options[name], value) for name, value in values.items()}


def shows_options(function: Callable[P, R]) -> Callable[P, R]:
    """Have `help` and a notebook's completion list each option of `adapt` with its default, in
    place of `**options`."""
    own = inspect.signature(function)
    parameters = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation
        )
        for name, one in OPTIONS.items()
    ]
    function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def _plain(option: Option, value: Any) -> Any:
    kinds = option.annotation.split(" | ")
    if value is None and "None" in kinds:
        return None
    if option.parse is not None and isinstance(value, str):
        try:
            return option.parse(value)
        except ValueError as error:
            raise UsageError(f"{option.name}={value!r} {error}", thing=option.name) from error
    if type(value).__name__ in ("bool_", "bool") and option.kind is bool:
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, _ACCEPTED[option.kind]):
        raise UsageError(
            f"{option.name}={value!r} is of type '{type(value).__name__}', and it takes "
            f"{' or '.join(kinds)}",
            thing=option.name,
        )
    return fspath(value) if option.kind is str else option.kind(value)
