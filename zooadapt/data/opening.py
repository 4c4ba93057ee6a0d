"""From a location to a Dataset: a folder, a table, or a set on the Hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from zooadapt.data import file_samples, file_tables, modalities, tables, windows
from zooadapt.data.assembly import assemble
from zooadapt.data.cells import CellSamples, Texts
from zooadapt.data.dataset import Dataset, LabelledRows, Samples, Split
from zooadapt.data.modalities.text import MODALITY as TEXT
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import decode_text, existing, lines_of, read_text
from zooadapt.data.text_folders import TextFiles, read_text_folder
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, NotFoundError, UsageError
from zooadapt.family.modality import Modality
from zooadapt.runtime.options import flag
from zooadapt.tasks.task import Task

_DEFAULTS = ReadOptions()


def open_dataset(
    location: str,
    *,
    modality: str,
    options: ReadOptions = _DEFAULTS,
    seed: int = 0,
    offline: bool = False,
) -> Dataset:
    """A labelled set: a folder of files by class, a table of texts or paths, or `hf:ID`.

    Data without a test part gets one: a stratified fifth, by seed. Every file is read once, for its
    hash and its faults; a later change of a file is an error when it is read. With `offline`,
    `hf:ID` is read from the cache.
    Raises: DataError, NotFoundError or AccessError, naming the file, row or class at fault;
    UnavailableError for a Hub data set that cannot be downloaded; UsageError for a group column of
    a folder.
    """
    rows = _read(location, modalities.named(modality), options, offline)
    return assemble(rows, location=location, modality=modality, options=options, seed=seed)


def open_samples(
    location: str, *, modality: str, options: ReadOptions = _DEFAULTS, offline: bool = False
) -> tuple[Split, Task | None]:
    """All samples of a set and its task. A set without labels has labels of -1 and no task: a
    folder of files, a table without the label column, a text file of one text a line, a folder of
    text files.

    Raises: as `open_dataset` and `open_inputs`.
    """
    kind = modalities.named(modality)
    if _is_unlabelled(location, kind, options):
        return open_inputs([location], modality=modality, options=options), None
    rows = _read(location, kind, options, offline, may_lack_labels=True)
    if any(name is not None for name in rows.names):
        data = assemble(rows, location=location, modality=modality, options=options, seed=0)
        return data.everything, data.task
    notes = [*rows.notes, f"'{location}' is read without labels"]
    return unlabelled(rows.samples, rows.rows, modality=modality, notes=notes), None


def open_inputs(inputs: Sequence[str], *, modality: str, options: ReadOptions = _DEFAULTS) -> Split:
    """Unlabelled samples for prediction, in order: files and folders of them, a table's column of
    samples, text files of one text a line, folders of text files of one text each, `-` for lines on
    standard input, or, for texts, a text itself.

    Raises: NotFoundError for a path that is missing or empty; DataError for a broken one.
    """
    samples: Samples
    rows: Sequence[int]
    notes: list[str] = []
    kind = modalities.named(modality)
    windows.check(kind, options)
    if not kind.in_cells:
        paths = [path for name in inputs for path in file_paths(name, kind, options, notes)]
        samples = files = file_samples.FileSamples(Path(), paths, kind, options)
        rows = files.examine()
        notes += files.notes
        if options.window is not None:
            samples = windows.windows_of(files, rows, options)
            rows = range(len(samples))
    else:
        samples = CellSamples(
            [
                texts_of(name, kind, options, notes)
                if _is_place(name, kind)
                else _Literal(number, name, notes)
                for number, name in enumerate(inputs, 1)
            ],
            kind,
        )
        rows = range(len(samples))
    if not len(rows):
        raise NotFoundError(
            f"no input in {', '.join(inputs[:3])}",
            thing=inputs[0],
            remedy=f"give {kind.plural}, files or folders of them, or a table",
        )
    return unlabelled(samples, rows, modality=modality, notes=notes)


def unlabelled(
    samples: Samples, rows: Sequence[int], *, modality: str, notes: Sequence[str]
) -> Split:
    """These rows of samples, with labels of -1."""
    labels = np.full(len(rows), -1)
    return Split(samples, labels, modality=modality, rows=np.array(rows), notes=notes)


def open_texts(location: str, *, options: ReadOptions = _DEFAULTS) -> Split:
    """Unlabelled texts: a table's text column, a text file of one text a line, or all such files of
    a folder, in order of name.

    Raises: as `open_inputs`.
    """
    path = existing(location)
    names = [location]
    if path.is_dir():
        suffixes = (*tables.SUFFIXES, *TEXT.suffixes)
        names = [str(path / name) for name in _top_files(path, suffixes, options)]
    return open_inputs(names, modality=TEXT.name, options=options)


def read_plain(location: str, *, options: ReadOptions = _DEFAULTS) -> list[str]:
    """The whole texts of a text file, or of every `.txt` file of a folder, in order of name.

    Raises: NotFoundError for a location that is missing or has no text; DataError for a file that
    is not in the encoding, or not regular; AccessError.
    """
    path = existing(location)
    if not path.is_dir() and not path.is_file():
        raise _not_regular(location)
    names = _top_files(path, TEXT.suffixes, options) if path.is_dir() else [""]
    texts = [read_text(path / name, options.encoding, []) for name in names]
    if not any(text.strip() for text in texts):
        raise NotFoundError(
            f"'{location}' holds no text", thing=location, remedy="give a file with text in it"
        )
    return texts


def _top_files(path: Path, suffixes: Collection[str], options: ReadOptions) -> list[str]:
    """Raises: NotFoundError for a folder without files of these suffixes."""
    names = Tree(path, TEXT, options).files_in(Path())
    chosen = [name for name in names if tables.kind_of(Path(name)) in suffixes]
    if not chosen:
        raise NotFoundError(
            f"folder '{path}' holds no file in {', '.join(suffixes)}",
            thing=str(path),
            remedy="name a file, or a folder that holds text files",
        )
    return chosen


def _is_unlabelled(location: str, modality: Modality, options: ReadOptions) -> bool:
    """Whether there is no place for labels: a file that is no table, a folder without folders."""
    if location.startswith("hf:"):
        return False
    if location == "-":
        return True
    path = existing(location)
    tree = Tree(path, modality, options)
    if not modality.in_cells:
        if file_tables.listing_of(path, modality, options, [], needs_labels=False) is not None:
            return False
        return not path.is_dir() or not tree.folders(Path())
    if not path.is_dir():
        return tables.kind_of(path) not in tables.SUFFIXES
    return not (tables.has_train_table(tree) or tree.folders(Path()))


def _read(
    location: str,
    modality: Modality,
    options: ReadOptions,
    offline: bool,
    *,
    may_lack_labels: bool = False,
) -> LabelledRows:
    _check_folders(location, modality, options)
    windows.check(modality, options)
    if location.startswith("hf:"):
        from zooadapt.data.hub_sets import read_hub_set

        return read_hub_set(location, modality=modality, options=options, offline=offline)
    path = existing(location)
    if modality.in_cells:
        tree = Tree(path, modality, options)
        if path.is_dir() and tree.folders(Path()) and not tables.has_train_table(tree):
            return read_text_folder(path, modality, options)
        return tables.read_tables(path, modality, options, may_lack_labels=may_lack_labels)
    return file_tables.read_files(path, modality, options, may_lack_labels=may_lack_labels)


def _check_folders(location: str, modality: Modality, options: ReadOptions) -> None:
    """Raises: UsageError for `--train-folder` and `--test-folder` without a use."""
    if options.train_folder is options.test_folder is None:
        return
    column = flag(modality.column)
    if not modality.in_cells and getattr(options, modality.column) is not None:
        raise UsageError(
            f"{column} reads the {modality.plural} of a table, and --train-folder and "
            "--test-folder name class folders",
            thing=column,
            remedy="leave out one of them",
        )
    if location.startswith("hf:") or modality.in_cells or Path(location).is_file():
        raise UsageError(
            f"'{location}' is no folder of images or other files, so it has no folders of parts",
            thing="--train-folder" if options.train_folder else "--test-folder",
            remedy="leave it out",
        )
    if options.train_folder is None:
        raise UsageError(
            "--test-folder names the folder to test on, and no option names the one to train on",
            thing="--test-folder",
            remedy="add --train-folder NAME",
        )


def file_paths(name: str, modality: Modality, options: ReadOptions, notes: list[str]) -> list[str]:
    """The file of that name, those that a table names, or all of a folder, in order of name.

    Raises: NotFoundError, AccessError, or DataError for a table's row at fault or a file that is
    not regular.
    """
    path = existing(name)
    listing = file_tables.listing_of(path, modality, options, notes, needs_labels=False)
    if listing is not None:
        notes += listing.notes
        return [str(file_tables.root_of(path) / name) for name in dict.fromkeys(listing.paths)]
    if path.is_dir():
        tree = Tree(path, modality, options)
        paths, _ = tree.files(Path())
        notes += tree.notes()
        return [str(path / name) for name in paths]
    if not path.is_file():
        raise _not_regular(name)
    return [name]


def texts_of(name: str, modality: Modality, options: ReadOptions, notes: list[str]) -> Texts:
    """The texts of a table, of a file of one text a line, or of a folder of text files.

    Raises: as `open_inputs`.
    """
    if name == "-":
        text = decode_text(sys.stdin.buffer.read(), options.encoding, name="stdin", notes=notes)
        return tables.TextColumn.of("stdin", lines_of(text))
    path = existing(name)
    if path.is_dir():
        tree = Tree(path, modality, options)
        paths = [str(path / name) for name in tree.files(Path())[0]]
        texts = TextFiles(Path(), paths, options)
        notes += [*tree.notes(), *texts.notes]
        return texts
    if tables.kind_of(path) in tables.SUFFIXES:
        table = tables.read(path, modality, options=options, labelled=False)
        notes += table.notes
        return table.text
    if path.is_block_device() or path.is_char_device():
        raise _not_regular(name)
    return tables.TextColumn.of(path.name, lines_of(read_text(path, options.encoding, notes)))


def _is_place(name: str, modality: Modality) -> bool:
    """Whether an input is a path or `-` and no text. A missing path has the suffix of a table or
    text file, or is one word with a slash."""
    if name == "-" or os.path.lexists(name):
        return True
    if tables.kind_of(Path(name)) in (*tables.SUFFIXES, *modality.suffixes):
        return True
    return len(name.split()) == 1 and not {os.sep, os.altsep or os.sep}.isdisjoint(name)


class _Literal:
    """An input that is a text itself."""

    def __init__(self, number: int, text: str, notes: list[str]) -> None:
        self._number, self._text = number, text
        if len(text.split()) == 1:
            notes.append(f"there is no file '{text}', so it is read as a text")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> str:
        return self._text

    def name_of(self, index: int) -> str:
        return f"text {self._number}"


def _not_regular(name: str) -> DataError:
    return DataError(
        f"'{name}' is a pipe, socket or device", thing=name, remedy="give a regular file"
    )
