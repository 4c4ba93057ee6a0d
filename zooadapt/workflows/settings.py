"""How a model is run, as the user may say it."""

from __future__ import annotations

from dataclasses import dataclass

from zooadapt.data.options import ReadOptions
from zooadapt.runtime import options
from zooadapt.runtime.options import Group, option, same_as
from zooadapt.runtime.ranges import Range
from zooadapt.training.options import AdaptOptions


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is run on samples."""

    precision: str = option(
        "auto",
        "Numerical precision; auto: that of the adaptation if this machine has it, else measured.",
        Group.COMPUTE,
        choices=("auto", "fp32", "bf16"),
    )
    batch_size: int = option(32, "Samples in a batch.", Group.COMPUTE, range=Range(1))
    offline: bool = same_as(AdaptOptions, "offline")
    cache_gb: float = 10.0
    reading: ReadOptions = ReadOptions()

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        options.check(self)
