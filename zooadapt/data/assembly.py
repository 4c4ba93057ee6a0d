"""From labelled rows to a Dataset: classes, parts, and the checks between them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from zooadapt.data.dataset import Dataset, LabelledRows, Split, content_digests
from zooadapt.data.labels import lacks
from zooadapt.data.options import ReadOptions
from zooadapt.data.splits import divide
from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted, listed

TEST_FRACTION = 0.2
MAX_CLASSES = 20_000

_FEATURES = 2048
"""A common width, for the size of a head of so many classes."""


def assemble(
    labelled: LabelledRows, *, location: str, modality: str, options: ReadOptions, seed: int
) -> Dataset:
    """The data set of a reader's rows, with a note on whatever is unusual.

    Raises: DataError naming the class or rows at fault.
    """
    notes = list(labelled.notes)
    used = _labelled(labelled, location, options, notes)
    rows, parts = np.array(labelled.rows, dtype=np.int64)[used], np.array(labelled.parts)[used]
    classes, labels = _classes([labelled.names[k] or "" for k in used.tolist()])
    groups = (
        _groups([labelled.groups[k] for k in used.tolist()], notes) if labelled.groups else None
    )
    everything = Split(
        labelled.samples, labels, modality=modality, rows=rows, groups=groups, notes=labelled.notes
    )
    in_test, in_val = _own_parts(parts, labels, groups, notes)
    own_test = len(in_test) > 0
    in_train = np.setdiff1d(np.arange(len(parts)), in_test)
    _check_classes(classes, labels[in_train], options)
    contents = content_digests(everything) if options.strict else everything.digests
    _note_contradictions(everything, contents, notes)
    if not own_test:
        in_train, in_test = divide(everything, TEST_FRACTION, seed, contents)
        whole = ", groups whole" if groups is not None else ""
        notes.append(
            f"no test part: {counted(len(in_test), 'sample was', 'samples were')} split off, "
            f"stratified, by seed{whole}"
        )
    _note_classes(classes, labels, labels[in_test], notes)
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
        classes=classes,
        everything=everything,
        train=train,
        test=test if len(in_test) else None,
        has_own_test=own_test,
        validation=np.isin(in_train, in_val) if len(in_val) else None,
        notes=tuple(notes),
        white=labelled.white,
        cutting=labelled.cutting,
    )


def _labelled(
    rows: LabelledRows, location: str, options: ReadOptions, notes: list[str]
) -> np.ndarray:
    """Positions of the rows that have a label."""
    has_label = np.array([not lacks(name) for name in rows.names], dtype=bool)
    used = _with_labelled_part(rows, has_label, notes)
    missing = np.flatnonzero(used & ~has_label)
    if len(missing) and not options.drop_unlabelled:
        names = [rows.samples.name(rows.rows[k]) for k in missing.tolist()]
        raise DataError(
            counted(len(missing), f"row of '{location}' has", f"rows of '{location}' have")
            + f" no label: {listed(names)}",
            thing=names[0],
            remedy="label them, or --drop-unlabelled leaves them out",
        )
    if not has_label.any():
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
    parts: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the data's own test part, and of its own validation part."""
    in_test, in_val = np.flatnonzero(parts == "test"), np.flatnonzero(parts == "val")
    nothing = np.array([], dtype=np.int64)
    if len(in_val) and not len(in_test):
        notes.append("the validation part serves as test part, since there is no other")
        return in_val, nothing
    train = parts == "train"
    if len(np.setdiff1d(labels[in_val], labels[train])):
        notes.append("the validation part joins the training part, which lacks a class of it")
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


def _classes(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted class names, normalised to NFC, and each sample's index among them."""
    spelled: dict[str, str] = {}
    for name in sorted(set(names)):
        normal = unicodedata.normalize("NFC", name)
        if spelled.setdefault(normal, name) != name:
            raise DataError(
                f"two classes are spelled '{normal}' in different Unicode forms",
                thing=normal,
                remedy="merge or rename them",
            )
    classes = tuple(sorted(spelled))
    if len(classes) > MAX_CLASSES:
        # Weights, gradients and two moments of the optimiser, fp32 each.
        size = len(classes) * _FEATURES * 4 * 4 / 1e9
        raise DataError(
            f"{len(classes):,} classes, the limit is {MAX_CLASSES:,}: to train a head for them on "
            f"{_FEATURES} features would take {size:.1f} GB",
            thing="classes",
            remedy="check that the labels are class names, --label-column names another column",
        )
    rows = {spelled[name]: row for row, name in enumerate(classes)}
    return classes, np.array([rows[name] for name in names], dtype=np.int64)


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


def _check_classes(classes: tuple[str, ...], trained: np.ndarray, options: ReadOptions) -> None:
    """trained: `(n,)` labels of the training part, or of everything where there are no parts."""
    if len(classes) < 2:
        raise DataError(
            f"there is one class only, '{classes[0]}'",
            thing=classes[0],
            remedy="add a second class, a classifier needs two or more",
        )
    counts = np.bincount(trained, minlength=len(classes))
    unseen = [classes[k] for k in np.flatnonzero(counts == 0)]
    if unseen:
        trained_names = [classes[k] for k in np.flatnonzero(counts)]
        alike = [name for name in trained_names if _loosely(name) == _loosely(unseen[0])]
        raise DataError(
            f"class '{unseen[0]}'{_others(unseen)} is in the test part only"
            + (f"; the training part has '{alike[0]}'" if alike else ""),
            thing=unseen[0],
            remedy="spell it alike in all parts"
            if alike
            else "add training samples of it or remove it",
        )
    single = [classes[k] for k in np.flatnonzero(counts == 1)]
    if single and not options.allow_tiny:
        raise DataError(
            f"class '{single[0]}'{_others(single)} has a single training sample",
            thing=single[0],
            remedy="add samples, or --allow-tiny",
        )


def _others(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _note_contradictions(split: Split, contents: Sequence[bytes], notes: list[str]) -> None:
    """Note equal samples of different classes."""
    first: dict[bytes, int] = {}
    pairs = [
        (original, k)
        for k, content in enumerate(contents)
        if split.labels[original := first.setdefault(content, k)] != split.labels[k]
    ]
    if pairs:
        names = [f"'{split.ids[a]}' and '{split.ids[b]}'" for a, b in pairs]
        notes.append(
            f"{counted(len(pairs), 'sample has', 'samples have')} the same content as a sample of "
            f"another class: {listed(names, separator='; ')}"
        )


def _note_classes(
    classes: tuple[str, ...], labels: np.ndarray, tested: np.ndarray, notes: list[str]
) -> None:
    """labels: `(n,)` of all samples; tested: of the test part."""
    untested = [classes[k] for k in np.setdiff1d(np.arange(len(classes)), tested)]
    if untested and len(tested):
        count = counted(len(untested), "class has", "classes have")
        notes.append(f"{count} no test sample: {listed([repr(name) for name in untested])}")
    alike = Counter(_loosely(name) for name in classes)
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    twins = [
        f"{name!r} ({count})"
        for name, count in zip(classes, counts, strict=True)
        if alike[_loosely(name)] > 1
    ]
    if twins:
        notes.append(f"classes that differ only in case, spaces or digits: {listed(twins)}")


def _loosely(name: str) -> str:
    """Equal for names that differ only in case, spaces or the digits of a number."""
    try:
        return repr(float(name))
    except ValueError:
        return " ".join(name.split()).casefold()
