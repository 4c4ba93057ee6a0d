"""From what the user names to a Dataset: a folder, a table, or a set on the Hub."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zooadapt.data import folders, tables
from zooadapt.data.dataset import Dataset, ReadOptions, Samples, Split, overlap
from zooadapt.data.splits import stratified
from zooadapt.errors import DataError, NotFoundError, UsageError

TEST_FRACTION = 0.2
MAX_CLASSES = 20_000
_SHOWN = 5
_DEFAULTS = ReadOptions()


def open_dataset(
    location: str, *, modality: str, options: ReadOptions = _DEFAULTS, seed: int = 0
) -> Dataset:
    """A labelled set: a folder of images by class, a table of texts, or `hf:ID`.

    Without a test part of its own, a fifth of every class is split off, stratified, by seed. Every
    file is read once (hash and header), none is decoded yet.
    Raises: DataError, NotFoundError or AccessError, naming the file, row or class at fault.
    """
    if location.startswith("hf:"):
        from zooadapt.data.hub_sets import read_hub_set

        samples, parts, names, notes = read_hub_set(location, modality=modality, options=options)
    elif modality == "image":
        samples, parts, names, notes = _image_folder(_existing(location), options)
    else:
        samples, parts, names, notes = _text_tables(_existing(location), options)
    return _assemble(location, modality, samples, parts, names, notes, options=options, seed=seed)


def open_inputs(inputs: Sequence[str], *, modality: str, options: ReadOptions = _DEFAULTS) -> Split:
    """Unlabelled samples for prediction, in the order given: images and folders of them, a table's
    text column, text files of one text a line, or `-` for lines on standard input.

    Raises: NotFoundError for a path that is not there or holds nothing; DataError for a broken one;
    UsageError for a folder where texts are wanted.
    """
    samples: Samples
    if modality == "image":
        paths: list[str] = []
        for name in inputs:
            path = _existing(name)
            notes: Counter[str] = Counter()
            below = (
                sorted(folders.files_below(path, Path(), options=options, notes=notes))
                if path.is_dir()
                else None
            )
            paths += [name] if below is None else [str(path / one) for one in below]
        samples = files = folders.FileSamples(Path(), paths, options)
        _refuse_or_drop(files, [None] * len(paths), options)
    else:
        samples = tables.TextSamples([_lines(name, options) for name in inputs])
    if not len(samples):
        raise NotFoundError(
            f"no input in {', '.join(inputs[:3])}",
            thing=inputs[0],
            remedy="give image files or folders, a table, or lines of text",
        )
    return Split(samples, np.full(len(samples), -1), modality=modality)


def _image_folder(root: Path, options: ReadOptions):
    if not root.is_dir():
        raise DataError(
            f"'{root.name}' is no folder of images, and the source takes images",
            thing=str(root),
            remedy="give a folder with one folder for each class",
        )
    found, notes = folders.scan(root, options=options)
    files = folders.FileSamples(root, [one.path for one in found], options)
    kept = _refuse_or_drop(files, [one.label for one in found], options)
    if len(kept) < len(found):
        notes.append(f"{len(found) - len(kept)} broken images left out")
    return (
        files,
        [found[k].part for k in kept],
        [found[k].label for k in kept],
        [*notes, *files.notes],
    )


def _refuse_or_drop(
    files: folders.FileSamples, labels: Sequence[str | None], options: ReadOptions
) -> list[int]:
    errors = files.examine()
    bad = [k for k, error in enumerate(errors) if error is not None]
    if bad and not options.skip_bad:
        first = errors[bad[0]]
        more = ", ".join(files.name(k) for k in bad[1:_SHOWN])
        also = f"; and {len(bad) - 1} more: {more}" if len(bad) > 1 else ""
        raise DataError(f"{first}{also}", thing=first.thing, remedy=first.remedy)
    kept = [k for k, error in enumerate(errors) if error is None]
    if bad:
        files.keep(kept)
    return kept


def _text_tables(path: Path, options: ReadOptions):
    if path.is_dir():
        named = sorted(p for p in path.iterdir() if p.suffix.lower() in tables.SUFFIXES)
        chosen = [
            (folders.PARTS[p.stem.lower()], p) for p in named if p.stem.lower() in folders.PARTS
        ]
        if not any(part == "train" for part, _ in chosen):
            raise DataError(
                f"folder '{path.name}' holds no train table, and the source takes text",
                thing=str(path),
                remedy="give train.csv and test.csv, or name a file",
            )
    elif path.suffix.lower() in tables.SUFFIXES:
        chosen = [("all", path)]
    else:
        raise DataError(
            f"'{path.name}' is no table that is known here",
            thing=str(path),
            remedy=f"give one of {', '.join(tables.SUFFIXES)}",
        )
    columns, parts, names, notes = [], [], [], []
    for part, file in chosen:
        text, labels, dropped = tables.read(file, options=options, labelled=True)
        columns.append((file.name, text))
        parts += [part] * len(labels)
        names += labels
        if dropped:
            notes.append(f"{dropped} rows of {file.name} without a label left out")
    return tables.TextSamples(columns), parts, names, notes


def _assemble(
    location: str,
    modality: str,
    samples: Samples,
    parts: Sequence[str],
    names: Sequence[str],
    notes: Sequence[str],
    *,
    options: ReadOptions,
    seed: int,
) -> Dataset:
    notes = list(notes)
    where = np.array(parts)
    classes, labels = _classes(names)
    everything = Split(samples, labels, modality=modality)
    in_test = np.flatnonzero(where == "test")
    if not len(in_test) and "val" in set(parts):
        in_test = np.flatnonzero(where == "val")
        notes.append("the validation part serves as test part, since there is no other")
    elif "val" in set(parts):
        notes.append("the validation part joins the training part; a run holds out its own")
    in_train = np.setdiff1d(np.arange(len(where)), in_test)
    _check_classes(classes, labels, in_train, in_test, notes, options)
    own_test = len(in_test) > 0
    if not own_test:
        in_train, in_test = stratified(labels, TEST_FRACTION, seed)
        notes.append(f"no test part: {len(in_test)} samples were split off, stratified, by seed")
    train, test = everything.subset(in_train), everything.subset(in_test)
    repeated = overlap(train, test)
    if repeated:
        told = f"{repeated} test samples have the same content as a training sample"
        if options.strict:
            raise DataError(told, thing=location, remedy="remove them from one of the parts")
        notes.append(told)
    return Dataset(
        location=location,
        modality=modality,
        classes=classes,
        everything=everything,
        train=train,
        test=test if len(in_test) else None,
        has_own_test=own_test,
        notes=tuple(notes),
    )


def _classes(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Sorted class names, normalised to NFC, and each sample's index among them."""
    spelled: dict[str, str] = {}
    for name in set(names):
        normal = unicodedata.normalize("NFC", name)
        if spelled.setdefault(normal, name) != name:
            raise DataError(
                f"two classes are spelled '{normal}' in different Unicode forms",
                thing=normal,
                remedy="merge or rename them",
            )
    classes = tuple(sorted(spelled))
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{len(classes):,} classes, the limit is {MAX_CLASSES:,}",
            thing="classes",
            remedy="check that the label column holds class names",
        )
    rows = {spelled[name]: row for row, name in enumerate(classes)}
    return classes, np.array([rows[name] for name in names], dtype=np.int64)


def _check_classes(
    classes: tuple[str, ...],
    labels: np.ndarray,
    in_train: np.ndarray,
    in_test: np.ndarray,
    notes: list[str],
    options: ReadOptions,
) -> None:
    if len(classes) < 2:
        raise DataError(
            f"there is one class only, '{classes[0]}'",
            thing=classes[0],
            remedy="a classifier needs two or more",
        )
    counts = np.bincount(labels[in_train], minlength=len(classes))
    unseen = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if unseen:
        raise DataError(
            f"class '{unseen[0]}' is in the test part only",
            thing=unseen[0],
            remedy="add training samples of it or remove it",
        )
    single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    if single and not options.allow_tiny:
        raise DataError(
            f"class '{single[0]}' has a single training sample"
            + (f", and {len(single) - 1} more classes" if len(single) > 1 else ""),
            thing=single[0],
            remedy="add samples, or --allow-tiny",
        )
    if len(in_test):
        tested = set(np.unique(labels[in_test]).tolist())
        untested = [name for row, name in enumerate(classes) if row not in tested]
        if untested:
            notes.append(
                f"{len(untested)} classes have no test sample: {', '.join(untested[:_SHOWN])}"
            )
    alike = Counter(_loosely(name) for name in classes)
    twins = sorted(name for name in classes if alike[_loosely(name)] > 1)
    if twins:
        notes.append(
            f"classes that differ only in case, spaces or digits: "
            f"{', '.join(repr(name) for name in twins[: 2 * _SHOWN])}"
        )


def _loosely(name: str) -> str:
    try:
        return repr(float(name))
    except ValueError:
        return name.strip().casefold()


def _lines(name: str, options: ReadOptions):
    import pyarrow as pa

    if name == "-":
        return "stdin", pa.chunked_array([[line.rstrip("\n") for line in sys.stdin]], pa.string())
    path = _existing(name)
    if path.is_dir():
        raise UsageError(
            f"'{name}' is a folder, and the model takes text",
            thing=name,
            remedy="give a table, a text file, or - for lines on stdin",
        )
    if path.suffix.lower() in tables.SUFFIXES:
        text, _, _ = tables.read(path, options=options, labelled=False)
        return path.name, text
    lines = tables.decoded(path, options.encoding).decode().splitlines()
    return path.name, pa.chunked_array([lines], pa.string())


def _existing(location: str) -> Path:
    path = Path(location)
    if not path.exists():
        raise NotFoundError(
            f"'{location}' is not there",
            thing=location,
            remedy="check the path; hf:ID names a set on the Hub",
        )
    return path
