"""The folders of a data set: its parts and their class folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, NotFoundError, UsageError
from zooadapt.runtime.wording import listed

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "dev": "val", "test": "test", "testing": "test"}  # fmt: skip
"""Parts by their usual names in lower case."""
ALL = "all"
"""The part of every sample of data without parts."""


def class_folders(tree: Tree, options: ReadOptions) -> tuple[list[tuple[str, Path]], list[str]]:
    """Each class folder with its part, and notes on how the folders were read.

    Parts are the folders that `options` names; else folders with a part's name (`train`,
    `seg_train`, `training_set`) that contain folders. Without parts, every folder is a class.
    Raises: DataError for folders that look like parts but do not say which, for two folders of one
    part, and for a data set in a subfolder.
    """
    notes: list[str] = []
    if options.train_folder is not None:
        parts: dict[str, Path] | None = _configured(tree, options.train_folder, options.test_folder)
    else:
        parts = _parts(tree)
    if parts is None:
        _refuse_unclear(tree)
        tree.leave_samples(Path())
        return [(ALL, Path(name)) for name in tree.folders(Path())], _named_like_parts(tree)
    classes: list[str] = []
    folders = []
    for part in ("train", "test", "val"):
        if part not in parts:
            continue
        below = _unwrap(tree, parts[part], classes)
        if below != parts[part]:
            notes.append(f"the class folders of the {part} part are those in '{below.as_posix()}'")
        names = tree.folders(below)
        classes = classes or names
        tree.leave_samples(below)
        folders += [(part, below / name) for name in names]
    if not classes:
        place, many = (tree.root / parts["train"]).as_posix(), tree.modality.plural
        raise NotFoundError(
            f"'{place}' holds no class folder with {many}",
            thing=parts["train"].as_posix(),
            remedy=f"make one folder for each class and put its {many} there",
        )
    return sorted(folders, key=lambda pair: pair[0]), notes


def _configured(tree: Tree, train_folder: str, test_folder: str | None) -> dict[str, Path]:
    """Raises: UsageError for a folder that is not below the root."""
    parts = {"train": Path(train_folder)}
    if test_folder is not None:
        parts["test"] = Path(test_folder)
    for part, below in parts.items():
        if below.is_absolute() or ".." in below.parts or not (tree.root / below).is_dir():
            raise UsageError(
                f"'{below}' is no folder in '{tree.root}'",
                thing=f"--{part}-folder",
                remedy=f"one of {listed(tree.folders(Path()))}",
            )
    return parts


def _parts(tree: Tree) -> dict[str, Path] | None:
    """The folder of each part; None where no names are those of parts."""
    top = tree.folders(Path())
    named = {name: PARTS[name.lower()] for name in top if name.lower() in PARTS}
    divided = [name for name in named if tree.folders(Path(name))]
    if any(named[name] == "train" for name in divided):
        parts = _one_each(tree, named)
    elif named and len(named) == len(top):
        if "train" not in named.values():
            raise DataError(
                f"'{tree.root.name}' holds '{top[0]}' and no 'train' folder",
                thing=str(tree.root),
                remedy="add train, or give a folder that holds the class folders alone",
            )
        parts = _one_each(tree, named)
    else:
        named = _longer_names(tree, top)
        if not named:
            return None
        parts = _one_each(tree, named)
    extra = [name for name in top if name not in named]
    if extra:
        beside = f"beside {parts['train'].name} ({listed(extra)})"
        tree.leave_out(f"folder {beside}", f"folders {beside}", len(extra))
    tree.leave_samples(Path())
    return parts


def _one_each(tree: Tree, named: Mapping[str, str]) -> dict[str, Path]:
    parts: dict[str, Path] = {}
    for name, part in named.items():
        if part in parts:
            raise DataError(
                f"'{parts[part]}' and '{name}' of '{tree.root.name}' mean the same part",
                thing=name,
                remedy="merge them or rename one, or --train-folder NAME --test-folder NAME",
            )
        parts[part] = Path(name)
    return parts


def _longer_names(tree: Tree, top: Sequence[str]) -> dict[str, str]:
    """Folders whose names contain a part's (`seg_train`, `test_images`), if they are parts: a
    training folder that holds only folders, and others with folders of the same names, or with only
    samples."""
    named = {name: part for name in top if (part := _part_within(name))}
    training = [n for n, part in named.items() if part == "train" and _holds_only_folders(tree, n)]
    classes = {label for name in training for label in _labels(tree, name)}
    others = [
        name
        for name, part in named.items()
        if part != "train"
        and (classes & set(_labels(tree, name)) or not tree.folders(Path(name)))
    ]  # fmt: skip
    return {name: named[name] for name in (*training, *others)} if training and others else {}


def _part_within(name: str) -> str | None:
    words = re.split(r"[\W_\d]+", name.lower())
    parts = {PARTS[word] for word in words if word in PARTS}
    return parts.pop() if len(parts) == 1 else None


def _refuse_unclear(tree: Tree) -> None:
    """Raises: DataError where the contents of the root's folders show that they are no classes."""
    top = [Path(name) for name in tree.folders(Path())]
    flat = [folder for folder in top if tree.holds_samples(folder)]
    nested = [folder for folder in top if folder not in flat and tree.folders(folder)]
    with_parts = [folder for folder in nested if _has_parts(tree, folder)]
    if not flat and nested and (len(nested) == 1 or len(with_parts) == 1):
        place = _innermost(tree, (with_parts or nested)[0])
        raise DataError(
            f"'{tree.root}' holds no class folders, they are in '{place.as_posix()}'",
            thing=str(tree.root),
            remedy=f"give {shlex.quote((tree.root / place).as_posix())}",
        )
    folders = [_unwrap(tree, folder).as_posix() for folder in nested]
    labels = [set(tree.folders(Path(folder))) for folder in folders]
    common = set.intersection(*labels) if len(nested) > 1 else set()
    if len(common) < 2 or 2 * len(common) <= len(set.union(*labels)):
        return
    raise DataError(
        f"folders {_quoted(folders)} of '{tree.root}' hold the same folders "
        f"({_quoted(sorted(common))}), so they are parts and no classes, and their names do not "
        "say which",
        thing=str(tree.root),
        remedy=f"--train-folder {shlex.quote(folders[0])} --test-folder {shlex.quote(folders[1])}, "
        "or, if they are classes, --train-folder .",
    )


def _has_parts(tree: Tree, below: Path) -> bool:
    return any(
        PARTS.get(name.lower()) == "train" and tree.folders(below / name)
        for name in tree.folders(below)
    )


def _innermost(tree: Tree, below: Path) -> Path:
    """The deepest folder on a path of single folders that contain folders."""
    while not _has_parts(tree, below) and len(names := tree.folders(below)) == 1:
        if tree.holds_samples(below) or not tree.folders(below / names[0]):
            break
        below = below / names[0]
    return below


def _unwrap(tree: Tree, below: Path, classes: Sequence[str] = ()) -> Path:
    """The folder of a part's class folders: the part's own, or a single folder in it. classes:
    names that are always classes."""
    while len(names := tree.folders(below)) == 1 and names[0] not in classes:
        inner = below / names[0]
        if tree.holds_samples(below) or tree.holds_samples(inner) or not tree.folders(inner):
            break
        below = inner
    return below


def _labels(tree: Tree, name: str) -> list[str]:
    return tree.folders(_unwrap(tree, Path(name)))


def _holds_only_folders(tree: Tree, name: str) -> bool:
    return bool(tree.folders(Path(name))) and not tree.holds_samples(Path(name))


def _named_like_parts(tree: Tree) -> list[str]:
    """A note on classes with names of parts."""
    names = [name for name in tree.folders(Path()) if name.lower() in PARTS]
    names = [name for name in names if tree.holds_samples(Path(name))]
    return [f"folders with {tree.modality.plural} are classes: {_quoted(names)}"] if names else []


def _quoted(names: Sequence[str]) -> str:
    return listed([f"'{name}'" for name in names])
