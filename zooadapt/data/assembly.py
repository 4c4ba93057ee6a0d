"""From labelled rows to a Dataset: classes, parts, and the checks between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooadapt.data.dataset import Dataset, LabelledRows, Split, content_digests
from zooadapt.data.options import ReadOptions
from zooadapt.data.splits import divide
from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks import Reading
from zooadapt.tasks.cells import empty, lacks
from zooadapt.tasks.task import Task

TEST_FRACTION = 0.2


def assemble(
    labelled: LabelledRows, *, location: str, modality: str, options: ReadOptions, seed: int
) -> Dataset:
    """The data set of a reader's rows, with a note on whatever is unusual.

    Raises: DataError naming the class or rows at fault.
    """
    notes = list(labelled.notes)
    reading = Reading.of(labelled.names, columns=labelled.columns, wanted=options.task)
    used = _labelled(labelled, reading, location, options, notes)
    rows, parts = np.array(labelled.rows, dtype=np.int64)[used], np.array(labelled.parts)[used]
    task, labels = reading.read(used.tolist(), lambda k: labelled.samples.name(int(rows[k])))
    groups = (
        _groups([labelled.groups[k] for k in used.tolist()], notes) if labelled.groups else None
    )
    everything = Split(
        labelled.samples,
        labels,
        modality=modality,
        strata=task.strata(labels),
        rows=rows,
        groups=groups,
        notes=labelled.notes,
    )
    in_test, in_val = _own_parts(parts, task, labels, groups, notes)
    own_test = len(in_test) > 0
    in_train = np.setdiff1d(np.arange(len(parts)), in_test)
    if options.trains:
        task.check(labels[in_train], allow_tiny=options.allow_tiny)
    contents = content_digests(everything) if options.strict else everything.digests
    _note_contradictions(task, everything, contents, notes)
    if not own_test:
        in_train, in_test = divide(everything, TEST_FRACTION, seed, contents)
        whole = ", groups whole" if groups is not None else ""
        notes.append(
            f"no test part: {counted(len(in_test), 'sample was', 'samples were')} split off, "
            f"stratified, by seed{whole}"
        )
    notes += task.remarks(labels, labels[in_test])
    train, test = everything.subset(in_train), everything.subset(in_test)
    train_contents = {contents[k] for k in in_train.tolist()}
    leaks = [everything.ids[k] for k in in_test.tolist() if contents[k] in train_contents]
    if leaks:
        count = counted(len(leaks), "test sample has", "test samples have")
        message = f"{count} the same content as a training sample"
        if options.strict:
            raise DataError(
                f"{message}, the first is '{leaks[0]}'",
                thing=leaks[0],
                remedy="remove them from one of the parts, or leave out --strict",
            )
        notes.append(message)
    train_contents = {contents[k] for k in np.setdiff1d(in_train, in_val).tolist()}
    duplicates = sum(contents[k] in train_contents for k in in_val.tolist())
    if duplicates:
        count = counted(duplicates, "validation sample has", "validation samples have")
        notes.append(f"{count} the same content as a training sample")
    _check_groups(train, test, options, notes)
    return Dataset(
        location=location,
        modality=modality,
        task=task.prepared(labels[in_train]),
        everything=everything,
        train=train,
        test=test if len(in_test) else None,
        has_own_test=own_test,
        validation=np.isin(in_train, in_val) if len(in_val) else None,
        notes=tuple(notes),
        choices=reading.choices,
        white=labelled.white,
        cutting=labelled.cutting,
    )


def _labelled(
    rows: LabelledRows, reading: Reading, location: str, options: ReadOptions, notes: list[str]
) -> np.ndarray:
    """Positions of the rows that have a label."""
    has_label = np.array([not reading.task.lacks(cell) for cell in reading.cells], dtype=bool)
    is_filled = np.array([not empty(cell) for cell in reading.cells], dtype=bool)
    is_filled &= has_label
    used = _with_labelled_part(rows, is_filled, notes)
    has_label &= used
    missing = np.flatnonzero(used & ~has_label)
    if len(missing) and not options.drop_unlabelled:
        names = [rows.samples.name(rows.rows[k]) for k in missing.tolist()]
        raise DataError(
            counted(len(missing), f"row of '{location}' has", f"rows of '{location}' have")
            + f" no label: {listed(names)}",
            thing=names[0],
            remedy="label them, or --drop-unlabelled leaves them out",
        )
    if not is_filled.any():
        raise DataError(
            f"no row of '{location}' has a label", thing=location, remedy="--label-column NAME"
        )
    if len(missing):
        notes.append(f"{counted(len(missing), 'row')} without a label left out")
    return np.flatnonzero(has_label)


def _with_labelled_part(rows: LabelledRows, has_label: np.ndarray, notes: list[str]) -> np.ndarray:
    """Which rows to use: a test or validation part without any label, as in competitions, is left
    out."""
    parts = np.array(rows.parts)
    used = np.ones(len(has_label), dtype=bool)
    for part, name in (("test", "test"), ("val", "validation")):
        inside = parts == part
        if inside.any() and not has_label[inside].any() and has_label.any():
            used &= ~inside
            count = counted(int(inside.sum()), "sample")
            notes.append(f"the {name} part ({count}) has no labels, so it is left out")
    return used


def _own_parts(
    parts: np.ndarray, task: Task, labels: np.ndarray, groups: np.ndarray | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the data's own test part, and of its own validation part."""
    in_test, in_val = np.flatnonzero(parts == "test"), np.flatnonzero(parts == "val")
    nothing = np.array([], dtype=np.int64)
    if len(in_val) and not len(in_test):
        notes.append("the validation part serves as test part, since there is no other")
        return in_val, nothing
    train = parts == "train"
    if not task.covers(labels[train], labels[in_val]):
        notes.append(
            f"the validation part joins the training part, which lacks a {task.noun[0]} of it"
        )
        return in_test, nothing
    if groups is not None and np.isin(groups[in_val], groups[train]).any():
        notes.append("the validation part joins the training part, which has groups of it")
        return in_test, nothing
    if len(in_val):
        notes.append(
            f"the validation part, {len(in_val)} samples, compares trained models; "
            "a linear probe is fitted on it too"
        )
    return in_test, in_val


def _groups(names: Sequence[str | None], notes: list[str]) -> np.ndarray:
    """The number of each row's group; a row without one is a group of its own."""
    single = [k for k, name in enumerate(names) if lacks(name)]
    if single:
        rows = counted(len(single), "row has", "rows have")
        notes.append(f"{rows} no group: each counts as a group of its own")
    numbers = np.unique([name or "" for name in names], return_inverse=True)[1]
    numbers[single] = len(names) + np.arange(len(single))
    return numbers


def _check_groups(train: Split, test: Split, options: ReadOptions, notes: list[str]) -> None:
    if train.groups is None or test.groups is None:
        return
    shared = np.flatnonzero(np.isin(test.groups, train.groups))
    if len(shared):
        message = counted(len(shared), "test sample is", "test samples are") + (
            " of a group that is in the training part too"
        )
        if options.strict:
            raise DataError(
                f"{message}, the first is '{test.ids[int(shared[0])]}'",
                thing=test.ids[int(shared[0])],
                remedy="move them to one of the parts, or leave out --strict",
            )
        notes.append(message)


def _note_contradictions(
    task: Task, split: Split, contents: Sequence[bytes], notes: list[str]
) -> None:
    """Note equal samples of different labels."""
    first: dict[bytes, int] = {}
    pairs = [
        (original, k)
        for k, content in enumerate(contents)
        if (original := first.setdefault(content, k)) != k
        and task.contradicts(split.labels[original], split.labels[k])
    ]
    if pairs:
        names = [f"'{split.ids[a]}' and '{split.ids[b]}'" for a, b in pairs]
        notes.append(
            f"{counted(len(pairs), 'sample has', 'samples have')} the same content as a sample of "
            f"another {task.noun[0]}: {listed(names, separator='; ')}"
        )
