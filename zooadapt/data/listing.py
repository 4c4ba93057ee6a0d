"""The files of a data set, with the part and the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zooadapt.data.layout import class_folders
from zooadapt.data.options import ReadOptions
from zooadapt.data.tree import Tree, valid
from zooadapt.errors import DataError, NotFoundError
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks.cells import Cell

_UNLABELLED = frozenset({"unsup", "unsupervised"})


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Files in order: those of class folders by part, class and name, those of tables by row."""

    paths: Sequence[str]
    """Posix paths below the root."""
    parts: Sequence[str]
    labels: Sequence[Cell]
    """The name of each file's class folder, or its label in a table; None for none."""
    notes: Sequence[str]
    columns: Sequence[str] = ()
    """The columns of a table that labels are from."""
    groups: Sequence[str | None] = ()
    """The group of each file; empty without a group column."""
    spans: Sequence[tuple[float, float]] = ()
    """The seconds of each recording that are the sample; empty where it is whole."""


def files_by_class(tree: Tree, options: ReadOptions) -> Listing:
    """The files of a labelled folder.

    The root holds class folders, or a folder of them for each part, as in `class_folders`. Notes
    name classes without samples, and folders without labels by their name. Raises: as
    `class_folders`; DataError for a class folder with only other files; NotFoundError for no
    samples at all; AccessError.
    """
    parts: list[str] = []
    labels: list[str] = []
    paths: list[str] = []
    folders, notes = class_folders(tree, options)
    unlabelled = [below for _, below in folders if below.name.lower() in _UNLABELLED]
    if len(folders) - len(unlabelled) > 1:
        folders = [(part, below) for part, below in folders if below not in unlabelled]
        notes = [*notes, *(
            f"'{below.as_posix()}' is left out: by its name it holds no labels (--unlabelled "
            f"takes such {tree.modality.plural})"
            for below in unlabelled
        )]  # fmt: skip
    for part, below in folders:
        files = _class_files(tree, below)
        parts += [part] * len(files)
        labels += [below.name] * len(files)
        paths += files
    if not paths:
        raise NotFoundError(
            f"'{tree.root}' holds no class folder with {tree.modality.plural}",
            thing=str(tree.root),
            remedy=f"make one folder for each class and put its {tree.modality.plural} there",
        )
    empty = sorted({below.name for _, below in folders} - set(labels))
    if empty and len(set(labels)) < 2:
        raise _empty_class(tree, empty[0])
    notes = [*notes, *tree.notes()]
    if empty:
        count, names = counted(len(empty), "class folder"), listed([repr(name) for name in empty])
        notes.append(f"{count} without {_article(tree.modality.noun)} left out: {names}")
    return Listing(paths=paths, parts=parts, labels=labels, notes=notes)


def _class_files(tree: Tree, below: Path) -> list[str]:
    name = below.as_posix()
    if valid(name) != name:
        raise DataError(
            f"the name of class folder '{valid(name)}' is no valid Unicode",
            thing=valid(name),
            remedy="rename it",
        )
    paths, others = tree.files(below)
    if others and not paths:
        kinds = ", ".join(suffix or "no suffix" for suffix, _ in others.most_common(3))
        contents = f", only {others.total()} other files ({kinds})"
        remedy = (
            f"convert them to {tree.modality.formats}, or choose a model for such files: "
            "zooadapt models"
        )
        raise _empty_class(tree, name, contents, remedy)
    return paths


def _empty_class(
    tree: Tree, name: str, contents: str = "", remedy: str = "remove it or fill it"
) -> DataError:
    return DataError(
        f"class folder '{name}' holds no {tree.modality.noun}{contents}", thing=name, remedy=remedy
    )


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
