"""Labels of which a sample has several, as cells write them: joined, as a list, or as one column of
0 and 1 for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zooadapt.errors import DataError
from zooadapt.tasks.cells import Cell, check_number, separator_of, split, truth
from zooadapt.tasks.spelling import normalised


def read(
    cells: Sequence[Cell],
    *,
    columns: Sequence[str],
    row: Callable[[int], str],
    noun: tuple[str, str],
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the labels, sorted, and `(n, L)` int64, 1 where a sample has a label.

    Raises: DataError naming the row with a label twice, or with something else than 0 or 1 in one
    of several columns; and as `normalised` and `check_number`.
    """
    if len(columns) > 1:
        names, labels = tuple(columns), _of_columns(cells, columns, row)
    else:
        each = _of_lists(cells, row)
        names = tuple(sorted({name for one in each for name in one}))
        check_number(names, noun)
        position = {name: k for k, name in enumerate(names)}
        labels = np.zeros((len(each), len(names)), dtype=np.int64)
        for k, one in enumerate(each):
            labels[k, [position[name] for name in one]] = 1
    forms = normalised(names, noun)
    names = tuple(forms[name] for name in names)
    order = sorted(range(len(names)), key=names.__getitem__)
    check_number(names, noun)
    return tuple(names[k] for k in order), np.ascontiguousarray(labels[:, order])


def _of_columns(
    cells: Sequence[Cell], columns: Sequence[str], row: Callable[[int], str]
) -> np.ndarray:
    labels = np.empty((len(cells), len(columns)), dtype=np.int64)
    for k, cell in enumerate(cells):
        values = cell if isinstance(cell, tuple) else (cell,)
        for column, value in enumerate(values):
            positive = truth(value or "")
            if positive is None:
                raise DataError(
                    f"'{row(k)}' has '{value}' in column '{columns[column]}', and a column of one "
                    "label holds 0 or 1",
                    thing=row(k),
                    remedy="correct it, or leave the column out of --label-columns",
                )
            labels[k, column] = positive
    return labels


def _of_lists(cells: Sequence[Cell], row: Callable[[int], str]) -> list[tuple[str, ...]]:
    joint = separator_of(cells)
    each = []
    for k, cell in enumerate(cells):
        parts = cell if isinstance(cell, tuple) else split(cell or "", joint)
        names = [name.strip() for name in parts if name is not None and name.strip()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"'{row(k)}' has the label '{twice}' twice",
                thing=row(k),
                remedy="remove one of them",
            )
        each.append(tuple(names))
    return each
