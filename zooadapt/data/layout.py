"""Which folder of a data set is which part of it, and where its class folders are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.data.tree import Tree
from zooadapt.errors import DataError, NotFoundError, UsageError

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "dev": "val", "test": "test", "testing": "test"}  # fmt: skip
"""Names of a data set's parts, in lower case, and what they are here."""
ALL = "all"
"""The part of a sample where the data is not divided."""
_SHOWN = 5


def class_folders(tree: Tree, options: ReadOptions) -> tuple[list[tuple[str, Path]], list[str]]:
    """Each class folder with its part, and what is worth a note of how the folders were read.

    Parts are what `options` names; else folders named as such (`train`, `seg_train`,
    `training_set`) that hold folders and no class of that name. Where there are none, every folder
    is a class. Raises: DataError for folders that look like parts but do not say which they are,
    for two of the same part, and where the data set lies further inside.
    """
    notes: list[str] = []
    parts = _asked_for(tree, options) if options.train_folder is not None else _parts(tree)
    if parts is None:
        _refuse_unclear(tree)
        tree.leave_images(Path())
        return [(ALL, Path(name)) for name in tree.folders(Path())], _named_like_parts(tree)
    classes: list[str] = []
    folders = []
    for part in ("train", "test", "val"):
        if part not in parts:
            continue
        below = _unwrapped(tree, parts[part], classes)
        if below != parts[part]:
            notes.append(f"the class folders of the {part} part are those in '{below.as_posix()}'")
        names = tree.folders(below)
        classes = classes or names
        tree.leave_images(below)
        folders += [(part, below / name) for name in names]
    if not classes:
        raise NotFoundError(
            f"'{(tree.root / parts['train']).as_posix()}' holds no class folder with images",
            thing=parts["train"].as_posix(),
            remedy="make one folder for each class and put its images there",
        )
    return sorted(folders, key=lambda one: one[0]), notes


def _asked_for(tree: Tree, options: ReadOptions) -> dict[str, Path]:
    """Raises: UsageError for a folder that is not below the root."""
    parts = {"train": Path(options.train_folder)}
    if options.test_folder is not None:
        parts["test"] = Path(options.test_folder)
    for part, below in parts.items():
        if below.is_absolute() or ".." in below.parts or not (tree.root / below).is_dir():
            raise UsageError(
                f"'{below}' is no folder in '{tree.root}'",
                thing=f"--{part}-folder",
                remedy=f"one of {', '.join(tree.folders(Path())[:_SHOWN])}",
            )
    return parts


def _parts(tree: Tree) -> dict[str, Path] | None:
    """The folder of each part; None where the root is not divided, as far as names tell."""
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
        named = _spelled_out(tree, top)
        if not named:
            return None
        parts = _one_each(tree, named)
    extra = [name for name in top if name not in named]
    if extra:
        shown = ", ".join(extra[:_SHOWN]) + (", ..." if len(extra) > _SHOWN else "")
        beside = f"beside {parts['train'].name} ({shown})"
        tree.leave_out(f"folder {beside}", f"folders {beside}", len(extra))
    tree.leave_images(Path())
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


def _spelled_out(tree: Tree, top: Sequence[str]) -> dict[str, str]:
    """Folders with a part's name within their own (`seg_train`, `test_images`), if they are parts:
    one for training that holds folders alone, and others with folders of the same names, or with
    images alone."""
    named = {name: part for name in top if (part := _part_within(name))}
    training = [n for n, part in named.items() if part == "train" and _holds_folders_alone(tree, n)]
    classes = {label for name in training for label in _labels(tree, name)}
    beside = [
        name
        for name, part in named.items()
        if part != "train"
        and (classes & set(_labels(tree, name)) or not tree.folders(Path(name)))
    ]  # fmt: skip
    return {name: named[name] for name in (*training, *beside)} if training and beside else {}


def _part_within(name: str) -> str | None:
    words = re.split(r"[\W_\d]+", name.lower())
    parts = {PARTS[word] for word in words if word in PARTS}
    return parts.pop() if len(parts) == 1 else None


def _refuse_unclear(tree: Tree) -> None:
    """Raises: DataError where the folders of the root are no classes, by what they hold."""
    top = [Path(name) for name in tree.folders(Path())]
    flat = [one for one in top if tree.holds_images(one)]
    nested = [one for one in top if one not in flat and tree.folders(one)]
    inside = [one for one in nested if _is_divided(tree, one)]
    if not flat and nested and (len(nested) == 1 or len(inside) == 1):
        place = _innermost(tree, (inside or nested)[0])
        raise DataError(
            f"'{tree.root}' holds no class folders, they are in '{place.as_posix()}'",
            thing=str(tree.root),
            remedy=f"give {shlex.quote((tree.root / place).as_posix())}",
        )
    folders = [_unwrapped(tree, one).as_posix() for one in nested]
    labels = [set(tree.folders(Path(one))) for one in folders]
    common = set.intersection(*labels) if len(nested) > 1 else set()
    if len(common) < 2 or 2 * len(common) <= len(set.union(*labels)):
        return
    raise DataError(
        f"folders {_some(folders)} of '{tree.root}' hold the same folders "
        f"({_some(sorted(common))}), so they are parts and no classes, and their names do not say "
        "which",
        thing=str(tree.root),
        remedy=f"--train-folder {shlex.quote(folders[0])} --test-folder {shlex.quote(folders[1])}, "
        "or, if they are classes, --train-folder .",
    )


def _is_divided(tree: Tree, below: Path) -> bool:
    return any(
        PARTS.get(name.lower()) == "train" and tree.folders(below / name)
        for name in tree.folders(below)
    )


def _innermost(tree: Tree, below: Path) -> Path:
    """As far down as there is one folder alone, and folders in it."""
    while not _is_divided(tree, below) and len(names := tree.folders(below)) == 1:
        if tree.holds_images(below) or not tree.folders(below / names[0]):
            break
        below = below / names[0]
    return below


def _unwrapped(tree: Tree, below: Path, classes: Sequence[str] = ()) -> Path:
    """A part's folder, or the one in it that holds its class folders, where it holds nothing else.
    classes: names of folders that are classes, wherever they are."""
    while len(names := tree.folders(below)) == 1 and names[0] not in classes:
        inner = below / names[0]
        if tree.holds_images(below) or tree.holds_images(inner) or not tree.folders(inner):
            break
        below = inner
    return below


def _labels(tree: Tree, name: str) -> list[str]:
    return tree.folders(_unwrapped(tree, Path(name)))


def _holds_folders_alone(tree: Tree, name: str) -> bool:
    return bool(tree.folders(Path(name))) and not tree.holds_images(Path(name))


def _named_like_parts(tree: Tree) -> list[str]:
    """A note on classes that are called as parts are."""
    names = [name for name in tree.folders(Path()) if name.lower() in PARTS]
    names = [name for name in names if tree.holds_images(Path(name))]
    return [f"taken as classes, since images lie in them: {_some(names)}"] if names else []


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
