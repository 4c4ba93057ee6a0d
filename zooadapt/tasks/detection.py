"""What labels look like."""

from __future__ import annotations

from collections.abc import Sequence

from zooadapt.runtime.choice import Choice
from zooadapt.tasks.cells import Cell


def detect(cells: Sequence[Cell], *, columns: Sequence[str]) -> tuple[str, tuple[Choice, ...]]:
    """The name of the task that these labels look like; with the choice where it was one."""
    return "classification", ()
