"""The options of the command line as parameters in Python."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar

from zooadapt.data.options import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime.options import Option, options_of
from zooadapt.training.config import Request
from zooadapt.training.options import AdaptOptions

P = ParamSpec("P")
R = TypeVar("R")


class ReadParameters(TypedDict, total=False):
    """The fields of `zooadapt.data.ReadOptions` that are options, for type checkers."""

    text_column: str
    image_column: str | None
    audio_column: str | None
    sample_column: str | None
    label_column: str
    label_columns: str | None
    task: str
    group_column: str | None
    start_column: str | None
    end_column: str | None
    window: float | None
    hop: float | None
    background: str | None
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
    max_seconds: float


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
    candidates: str | None
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


class RankParameters(ReadParameters, total=False):
    """Those and the options of `zooadapt rank`, for type checkers."""

    budget: float | str
    labels_per_class: int | None
    input_size: int | None
    max_length: int | None
    batch_size: int | None
    seed: int
    cache_gb: float
    offline: bool
    workers: int
    ray: str | None
    report: str | PathLike[str] | None


class PretrainParameters(TypedDict, total=False):
    """The options of `zooadapt pretrain`."""

    unit: str
    hidden: int
    layers: int
    epochs: int | None
    budget: float | str | None
    overwrite: bool
    lr: float
    window: int
    batch_size: int
    seed: int
    encoding: str


OPTIONS: Mapping[str, Option] = {**options_of(AdaptOptions), **options_of(ReadOptions)}
"""Every option of `adapt`."""
_ACCEPTED: Mapping[type, tuple[type, ...]] = {
    str: (str, PathLike), Path: (str, PathLike), bool: (bool,), int: (Integral,), float: (Real,),
}  # fmt: skip


def request_of(
    source: str | PathLike[str], data: str, out: Path, options: Mapping[str, Any], *, plan: bool
) -> Request:
    """The request with these options.

    Raises: UsageError naming an unknown option, or a value of the wrong type or outside its range.
    """
    values = checked(options, OPTIONS)
    reading = {name: values.pop(name) for name in options_of(ReadOptions) if name in values}
    return Request(
        source=os.fspath(source),
        data=data,
        out=out,
        plan_only=plan,
        typed=frozenset(options),
        reading=ReadOptions(**reading),
        **values,
    )


def reading_of(options: Mapping[str, Any]) -> ReadOptions:
    """The reading options among Python's parameters.

    Raises: as `request_of`.
    """
    return ReadOptions(**checked(options, options_of(ReadOptions)))


def checked(values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """The values as plain Python objects: numbers of numpy become numbers, paths strings or `Path`.

    Raises: UsageError naming an unknown option, or a value of the wrong type.
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
    """Give the function a signature that lists each option of `adapt` with its default, for `help`
    and completion, in place of `**options`."""
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation
        )
        for name, one in OPTIONS.items()
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
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
    fits = isinstance(value, _ACCEPTED[option.kind]) and not isinstance(value, bool)
    if not fits:
        raise UsageError(
            f"{option.name}={value!r} is of type '{type(value).__name__}', and it takes "
            f"{' or '.join(kinds)}",
            thing=option.name,
        )
    return os.fspath(value) if option.kind is str else option.kind(value)
