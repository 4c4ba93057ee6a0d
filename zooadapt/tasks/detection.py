"""What labels look like."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from typing import Any

from zooadapt.errors import DataError
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks.cells import (
    SEPARATORS,
    Cell,
    joins,
    lacks,
    number,
    separator_of,
    spelled,
    split,
    truth,
)

CLASSES, SEVERAL, NUMBERS, GRADES = "classification", "multilabel", "regression", "ordinal"
_MANY, _EACH = 20, 3
"""Whole numbers are quantities if there are more different ones than this, and fewer rows of each
in the mean; or if almost all differ."""
_CLEAR = 0.9
"""Share of rows that show what a column holds; the others are exceptions or faults."""


def arranged(cells: Sequence[Cell], columns: Sequence[str]) -> tuple[Sequence[Cell], Sequence[str]]:
    """Cells as tasks read them, and the names of their columns.

    Strings that spell a list, as `["joy", "anger"]` in a CSV, become lists if all of them do. Lists
    of equally many numbers become columns, `scores 1`, `scores 2` and so on, unless all are whole
    numbers other than 0 and 1: these are names.
    """
    if len(columns) != 1:
        return cells, columns
    cells = _spelled_out(cells)
    present = [cell for cell in cells if isinstance(cell, tuple) or not lacks(cell)]
    lists = [cell for cell in present if isinstance(cell, tuple)]
    values = {value for cell in lists for value in cell if value is not None}
    width = len(lists[0]) if lists else 0
    if width < 2 or len(lists) < len(present) or {len(cell) for cell in lists} != {width}:
        return cells, columns
    if None in map(_value, values):
        return cells, columns
    if all(value.isdigit() for value in values) and None in map(truth, values):
        return cells, columns
    numbered = [f"{columns[0]} {k}" for k in range(1, width + 1)]
    return [cell if isinstance(cell, tuple) else None for cell in cells], numbered


def detect(cells: Sequence[Cell], *, columns: Sequence[str]) -> tuple[str, tuple[Choice, ...]]:
    """The name of the task that these labels look like; with the choice where it was one.

    cells: as `arranged` gives them.
    Raises: DataError for several columns without numbers.
    """
    present = [cell for cell in cells if isinstance(cell, tuple) or not lacks(cell)]
    if not columns or not present:
        return CLASSES, ()
    if len(columns) > 1:
        return _of_columns(present, columns)
    name = f"'{columns[0]}'"
    if any(isinstance(cell, tuple) for cell in present):
        return _chosen(SEVERAL, f"{name} holds lists", ())
    names = [cell for cell in present if isinstance(cell, str)]
    numbers = {one: number(one) for one in set(names)}
    values = [value for one in names if (value := numbers[one]) is not None]
    if len(values) >= _CLEAR * len(names):
        return _of_numbers(name, values, all_numbers=len(values) == len(names))
    separator = separator_of(names)
    if separator is None:
        return CLASSES, ()
    distinct = set(names)
    parts = {part for one in distinct for part in split(one, separator)}
    if joins(names, separator):
        return _chosen(
            SEVERAL, f"'{separator}' joins {len(parts)} labels in {len(distinct)} ways in {name}"
        )
    if separator in SEPARATORS[:2]:  # a comma is part of many names
        example = next(one for one in names if len(split(one, separator)) > 1)
        why = f"each of {len(distinct)} different labels, such as '{example}', is one class"
        return _chosen(CLASSES, why, (SEVERAL,))
    return CLASSES, ()


def _of_columns(cells: Sequence[Cell], columns: Sequence[str]) -> tuple[str, tuple[Choice, ...]]:
    names = listed([f"'{name}'" for name in columns])
    values: set[float] = set()
    for k, column in enumerate(columns):
        present = [value for cell in cells if cell and (value := cell[k]) and not lacks(value)]
        numbers = {value: _value(value) for value in set(present)}
        bad = [value for value in present if numbers[value] is None]
        if 2 * len(bad) > len(present):
            raise DataError(
                f"column '{column}' holds '{bad[0]}', and several columns of labels hold 0 and 1, "
                "or numbers",
                thing=column,
                remedy=f"--label-column {column} reads it as classes",
            )
        values.update(value for value in numbers.values() if value is not None)
    if values <= {0, 1}:
        return _chosen(SEVERAL, f"{names} hold 0 and 1", (NUMBERS,))
    return _chosen(NUMBERS, f"{names} hold numbers", ())


def _of_numbers(
    name: str, values: Sequence[float], *, all_numbers: bool
) -> tuple[str, tuple[Choice, ...]]:
    distinct = sorted({value for value in values if math.isfinite(value)})
    count = f"{counted(len(distinct), 'different number')} in {counted(len(values), 'row')}"
    if any(value * 2 % 1 for value in distinct):
        return _chosen(NUMBERS, f"{name} holds fractions, {count}")
    whole = not any(value % 1 for value in distinct)
    codes = whole and distinct == list(range(len(distinct)))
    many = len(distinct) > _MANY and len(values) < _EACH * len(distinct)
    if (many or len(distinct) >= _CLEAR * len(values)) and not codes:
        return _chosen(NUMBERS, f"{name} holds {count}")
    if codes or not all_numbers:
        return CLASSES, ()
    kind = "whole" if whole else "half"
    return _chosen(
        CLASSES,
        f"{name} holds {len(distinct)} different {kind} numbers, each of which is a class",
        (NUMBERS, GRADES),
    )


def _chosen(
    task: str, why: str, others: Sequence[str] = (CLASSES,)
) -> tuple[str, tuple[Choice, ...]]:
    """The choice of a task. others: the tasks that can read these labels too."""
    options = [f"--task {name}" for name in others]
    if options:
        why += f"; {' or '.join(options)} overrules"
    return task, (Choice(what="task", value=task, why=why),)


def _value(cell: str) -> float | None:
    """A number or a truth value."""
    positive = truth(cell)
    return number(cell) if positive is None else float(positive)


def _spelled_out(cells: Sequence[Cell]) -> Sequence[Cell]:
    names = {cell for cell in cells if isinstance(cell, str) and not lacks(cell)}
    lists = {name: _list_of(name.strip()) for name in names}
    if not lists or None in lists.values():
        return cells
    return [lists[cell] if isinstance(cell, str) and cell in lists else cell for cell in cells]


def _list_of(name: str) -> tuple[str | None, ...] | None:
    """The list that a string spells as JSON or Python has it."""
    if name[:1] != "[" or name[-1:] != "]":
        return None
    values: Any = None
    for read in (json.loads, ast.literal_eval):
        try:
            values = read(name)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    if not isinstance(values, list) or not all(_is_scalar(value) for value in values):
        return None
    return tuple(spelled(value) for value in values)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
