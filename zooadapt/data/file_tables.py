"""Files that a table names: each row has the path of a sample, its label and its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from zooadapt.data import tables
from zooadapt.data.columns import Columns, samples_column
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.labelled_files import examined, read_folder
from zooadapt.data.layout import ALL, PARTS
from zooadapt.data.listing import Listing, files_by_class
from zooadapt.data.named_files import NamedFiles
from zooadapt.data.options import ReadOptions
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, UsageError, ZooadaptError
from zooadapt.family.modality import Modality
from zooadapt.runtime.options import flag
from zooadapt.runtime.wording import counted
from zooadapt.tasks.cells import Cell

_METADATA, _FORMATS = "metadata", (".csv", ".jsonl", ".parquet")
"""The name of the tables in the Hub's folders of files, and their formats."""


def read_files(
    path: Path, modality: Modality, options: ReadOptions, *, may_lack_labels: bool
) -> LabelledRows:
    """The labelled files of a table, of a folder with tables, or of class folders.

    Raises: as `listing_of` and `read_folder`; UsageError for a group column of class folders.
    """
    notes: list[str] = []
    listing = listing_of(path, modality, options, notes, needs_labels=not may_lack_labels)
    if listing is not None:
        return examined(root_of(path), listing, modality, options)
    many = modality.plural
    if not path.is_dir():
        raise DataError(
            f"'{path.name}' is no folder of {many} and no table, and the model takes {many}",
            thing=str(path),
            remedy="give a folder with one folder for each class, or a table with their paths",
        )
    for option, column in ((flag(modality.column), _column(modality, options)),
                           ("--group-column", options.group_column),
                           ("--start-column", options.start_column)):  # fmt: skip
        if column is not None:
            raise UsageError(
                f"a folder of {many} has no column '{column}': '{path.name}' holds no metadata.csv "
                "and no train.csv",
                thing=option,
                remedy="leave it out, or give a table with that column",
            )
    labelled = read_folder(path, modality, options)
    return replace(labelled, notes=[*notes, *labelled.notes])


def _column(modality: Modality, options: ReadOptions) -> str | None:
    """The column that the options name, if they do."""
    column: str | None = getattr(options, modality.column)
    return column


def root_of(path: Path) -> Path:
    """The folder that the paths of a listing are relative to."""
    return path if path.is_dir() else path.parent


def listing_of(
    path: Path,
    modality: Modality,
    options: ReadOptions,
    notes: list[str],
    *,
    needs_labels: bool,
) -> Listing | None:
    """The files that the rows of a location's tables name, in order; None for a location whose
    files no table names, with a note on a table that is not read.

    Tables are the location itself; or `metadata.*` in a folder or in its part folders; or `train.*`
    and `test.*`, where an option names the column of samples, or in a folder without class folders.
    Without `needs_labels` the label column may be missing.
    Raises: DataError naming the row or column at fault; NotFoundError for a file that is missing.
    """
    files = _tables_of(path, modality, options, needs_labels)
    if not files:
        return None
    try:
        return _read(path, files, modality, options, needs_labels=True)
    except DataError as error:
        column = samples_column(modality, options)
        if error.thing not in (column, *options.labels):
            raise
        is_found = path.is_dir() and _column(modality, options) is None
        if is_found and _has_class_folders(path, modality, options):
            notes.append(f"the class folders are read and no table: {error}")
            return None
        may_be_missing = not needs_labels and (is_found or error.thing != column)
        if not may_be_missing and error.thing == column and not error.options:
            raise DataError(
                f"{error}; none of them seems to name {modality.plural}, and the model takes "
                f"{modality.plural}",
                thing=column,
                remedy=f"{flag(modality.column)} NAME, or give a folder with one folder for each "
                "class",
            ) from error
        if not may_be_missing:
            raise
        if error.thing == column:
            notes.append(f"all {modality.plural} of the folder are read: {error}")
            return None
    return _read(path, files, modality, options, needs_labels=False)


def _tables_of(
    path: Path, modality: Modality, options: ReadOptions, needs_labels: bool
) -> Sequence[tuple[str, Path]]:
    """Each table with its part; none where no table names the files."""
    if not path.is_dir():
        is_table = path.is_file() and tables.kind_of(path) in tables.SUFFIXES
        return [(ALL, path)] if is_table else []
    is_asked = _column(modality, options) is not None
    if options.train_folder is not None and not is_asked:
        return []
    tree = Tree(path, modality, options)
    metadata = _metadata(tree)
    if (metadata and not is_asked) or not tables.has_train_table(tree):
        return [(part, path / file) for part, file in metadata]
    if is_asked or (needs_labels and not _has_class_folders(path, modality, options)):
        return tables.tables_of(path, modality, options, [])
    return []


def _metadata(tree: Tree) -> list[tuple[str, Path]]:
    """The `metadata.*` of a folder, or of each of its part folders; none without a training part.

    Raises: DataError for two tables of one part.
    """
    folders = [(ALL, Path())]
    folders += [(part, Path(name)) for name in tree.folders(Path())
                if (part := PARTS.get(name.lower()))]  # fmt: skip
    files = [
        (part, folder / name)
        for part, folder in folders
        for name in tree.files_in(folder)
        if tables.stem_of(name) == _METADATA and _is_metadata_format(name)
    ]
    parts = {part for part, _ in files}
    whole = ALL in parts
    tables.refuse_twins([(ALL if whole else part, file) for part, file in files], tree.root.name)
    return files if parts & {ALL, "train"} else []


def _is_metadata_format(name: str) -> bool:
    # `metadata.json` is the name of many other files.
    return tables.kind_of(Path(name)) in _FORMATS


def _has_class_folders(path: Path, modality: Modality, options: ReadOptions) -> bool:
    tree = Tree(path, modality, options)
    try:
        return len(set(files_by_class(tree, options).labels)) > 1
    except ZooadaptError:
        return False


def _read(
    path: Path,
    files: Sequence[tuple[str, Path]],
    modality: Modality,
    options: ReadOptions,
    *,
    needs_labels: bool,
) -> Listing:
    paths: list[str] = []
    parts: list[str] = []
    labels: list[Cell] = []
    groups: list[str | None] = []
    spans: list[tuple[float, float]] = []
    notes: list[str] = []
    root = root_of(path)
    for part, file in files:
        selection = Columns(
            text=samples_column(modality, options),
            modality=modality,
            labels=options.labels,
            group=options.group_column,
            start=options.start_column,
            end=options.end_column,
            may_lack_label=not needs_labels or part not in ("train", ALL),
        )
        table = tables.read_columns(file, selection, options)
        cells = [table.text[row] for row in range(len(table.text))]
        files_of_table = NamedFiles(root, file, modality, options)
        paths += files_of_table.paths(cells, may_repeat=options.start_column is not None)
        spans += table.spans
        parts += [part] * len(cells)
        labels += table.labels
        groups += table.groups
        notes += [*table.notes, *files_of_table.notes]
    if set(parts) == {ALL} and (by_folder := _parts_of(paths)):
        parts = by_folder
        folders = ", ".join(sorted({name.partition("/")[0] for name in paths}))
        notes.append(f"the parts are the folders of the {modality.plural}' paths: {folders}")
    if path.is_dir():
        listed = " and ".join(f"'{file.relative_to(path).as_posix()}'" for _, file in files)
        notes.append(f"the {modality.plural} are those of {listed}, column '{selection.text}'")
    notes += _note_unnamed(path, paths, modality, options)
    return Listing(
        paths=paths,
        parts=parts,
        labels=labels,
        columns=options.labels,
        groups=groups,
        spans=spans,
        notes=notes,
    )


def _parts_of(paths: Sequence[str]) -> list[str]:
    """The part of each file by the first folder of its path; empty where these are no parts with
    one to train on and another."""
    parts = [PARTS.get(name.partition("/")[0].lower(), "") if "/" in name else "" for name in paths]
    return parts if "train" in parts and "" not in parts and len(set(parts)) > 1 else []


def _note_unnamed(
    path: Path, paths: Sequence[str], modality: Modality, options: ReadOptions
) -> Iterator[str]:
    """A note on the samples in the folder, or in the folders of the table's files, that no row
    names."""
    tree = Tree(root_of(path), modality, options)
    if path.is_dir():
        present = tree.files(Path())[0]
    else:
        folders = {PurePosixPath(name).parent for name in paths}
        present = [
            (Path(f) / name).as_posix() for f in folders for name in tree.samples_in(Path(f))
        ]
    count = len(set(present) - set(paths))
    if count:
        one, many = (f"{noun} that no row names" for noun in (modality.noun, modality.plural))
        yield f"{counted(count, f'{one} is', f'{many} are')} left out"
