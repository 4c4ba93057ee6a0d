"""What the user asked `pretrain` for, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.runtime import options
from zooadapt.runtime.options import Group, option, same_as
from zooadapt.runtime.ranges import MANY, Range, seconds
from zooadapt.training.options import AdaptOptions


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """One `zooadapt pretrain` as the user typed it."""

    family: str
    text: str
    out: Path
    unit: str = option(
        "byte",
        "Symbols of the vocabulary; bytes can spell any text.",
        Group.STRATEGY,
        choices=("byte", "char"),
    )
    hidden: int = option(224, "Hidden units in a layer.", Group.STRATEGY, range=Range(1))
    layers: int = option(2, "Layers.", Group.STRATEGY, range=Range(1, 1000))
    epochs: int | None = option(
        None,
        "Passes over the text.",
        Group.STRATEGY,
        by_default="3, or what --budget allows",
        range=Range(1),
    )
    budget: float | None = option(
        None,
        "Time limit of training, as 90s, 10m or 1h; the learning rate falls until then.",
        Group.STRATEGY,
        by_default="none",
        range=Range(0, 1000 * MANY, without=(0,)),
        parse=seconds,
        metavar="TIME",
    )
    overwrite: bool = same_as(AdaptOptions, "overwrite")
    lr: float = option(
        3e-3, "Peak learning rate.", Group.FINE_TUNING, range=Range(0, 1000, without=(0,))
    )
    window: int = option(
        128, "Symbols between two truncations of the gradient.", Group.FINE_TUNING, range=Range(8)
    )
    batch_size: int = option(32, "Windows in a batch.", Group.COMPUTE, range=Range(1))
    seed: int = same_as(AdaptOptions, "seed")
    reading: ReadOptions = ReadOptions()

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        options.check(self)
