"""What the user asked `rank` for, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.runtime import options
from zooadapt.runtime.options import Group, option, same_as
from zooadapt.runtime.ranges import MANY, Range, seconds
from zooadapt.training.options import AdaptOptions

BATCH = 32
"""Samples in a batch by default, as `adapt` takes them."""


@dataclass(frozen=True, kw_only=True)
class RankRequest:
    """One `zooadapt rank` as the user typed it."""

    data: str
    sources: tuple[str, ...] = ()
    """By default the bundled and downloaded ones of the data's modality."""
    budget: float = option(
        300.0,
        "Time limit, as 90s, 10m or 1h; the sample of the data grows within it while sources are "
        "not significantly different.",
        Group.STRATEGY,
        by_default="5m",
        range=Range(0, 1000 * MANY, without=(0,)),
        parse=seconds,
        metavar="TIME",
    )
    labels_per_class: int | None = same_as(AdaptOptions, "labels_per_class")
    input_size: int | None = same_as(AdaptOptions, "input_size")
    max_length: int | None = same_as(AdaptOptions, "max_length")
    batch_size: int | None = same_as(AdaptOptions, "batch_size")
    seed: int = same_as(AdaptOptions, "seed")
    cache_gb: float = same_as(AdaptOptions, "cache_gb")
    offline: bool = same_as(AdaptOptions, "offline")
    workers: int = option(
        1,
        "Processes that measure sources at the same time, one source each.",
        Group.COMPUTE,
        range=Range(1, 1024),
    )
    ray: str | None = option(
        None,
        "Address of a Ray cluster that measures the sources, as HOST:PORT, or local.",
        Group.COMPUTE,
        by_default="none",
        metavar="ADDRESS",
    )
    report: Path | None = option(
        None,
        "HTML file to write the ranking to, with a picture of accuracy against cost.",
        Group.OUTPUT,
        by_default="none",
        metavar="FILE",
    )
    reading: ReadOptions = ReadOptions()

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        options.check(self)
