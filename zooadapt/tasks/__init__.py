"""What is learned: how labels are read, and how predictions of them are judged.

A task is one module and one line of `TASKS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from zooadapt.runtime.choice import Choice
    from zooadapt.tasks.cells import Cell
    from zooadapt.tasks.task import Task

TASKS: Mapping[str, str] = {
    "classification": "zooadapt.tasks.classification:Classification",
    "multilabel": "zooadapt.tasks.multilabel:Multilabel",
    "regression": "zooadapt.tasks.regression:Regression",
    "ordinal": "zooadapt.tasks.ordinal:Ordinal",
}
"""Where each task is, by its name."""
DEFAULT = "classification"
AUTO = "auto"
"""The task that the labels look like."""


def named(name: str) -> type[Task]:
    """The task of this name. Raises: DataError for one that this version does not know."""
    if name not in TASKS:
        raise DataError(
            f"'{name}' is no task that this version knows",
            thing=name,
            remedy=f"its tasks are {', '.join(TASKS)}",
        )
    module, _, attribute = TASKS[name].partition(":")
    task: type[Task] = getattr(importlib.import_module(module), attribute)
    return task


def of_classes(names: Sequence[str]) -> Task:
    """Classification into these classes."""
    return named(DEFAULT).from_facts(names, {})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How labels are read: as those of one task."""

    task: type[Task]
    cells: Sequence[Cell]
    columns: Sequence[str]
    choices: tuple[Choice, ...] = ()

    @classmethod
    def of(cls, cells: Sequence[Cell], *, columns: Sequence[str], wanted: str) -> Reading:
        """By the task that is wanted, or with `AUTO` by the one that the labels look like.

        Raises: DataError for labels that look like none.
        """
        from zooadapt.tasks.detection import arranged, detect

        if wanted == DEFAULT:
            return cls(task=named(wanted), cells=cells, columns=columns)
        cells, columns = arranged(cells, columns)
        name, choices = (wanted, ()) if wanted != AUTO else detect(cells, columns=columns)
        return cls(task=named(name), cells=cells, columns=columns, choices=choices)

    def read(self, used: Sequence[int], row: Callable[[int], str]) -> tuple[Task, np.ndarray]:
        """The task and the labels of these cells. row: the name of one of them, for messages.

        Raises: as `Task.read`.
        """
        return self.task.read([self.cells[k] for k in used], columns=self.columns, row=row)


def of_facts(outputs: Sequence[str], facts: Mapping[str, Any], *, native: str = DEFAULT) -> Task:
    """The task of an export. facts: the `zooadapt` object of its config; native: the task of a
    config without one, as the family's own library reads it.

    Raises: DataError for a task that this version does not know.
    """
    own = facts.get("task")
    if not isinstance(own, Mapping):
        return named(native).from_facts(outputs, {})
    return named(str(own.get("name"))).from_facts(outputs, own)
