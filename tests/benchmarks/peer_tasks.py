"""The data sets of the benchmark of peers, and the job folder that each peer gets of one."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set, below the data folder."""

    path: str
    """A folder with `train` and `test`, of class folders or as tables (`train.csv`)."""
    kind: str = "classification"
    modality: str = "text"
    columns: tuple[str, ...] = ("label",)
    """Of the table: the one with the class or the number; of several labels, one each."""
    table: str = ""
    """Ends the names of the tables, as in `train_onehot.csv`."""
    positive: bool = False
    """A heavy-tailed number, whose logarithm is scored too."""

    @property
    def name(self) -> str:
        return Path(self.path).name


EMOTIONS = (
    "anger", "anticipation", "disgust", "fear", "joy", "love", "optimism", "pessimism", "sadness",
    "surprise", "trust",
)  # fmt: skip
TASKS = {
    task.name: task
    for task in (
        Task(path="images/flowers5", modality="image"),
        Task(path="images/ants_bees", modality="image"),
        Task(path="images/trashnet6", modality="image"),
        Task(path="images/omniglot_latin", modality="image"),
        Task(path="text/trec6"),
        Task(path="text/sms_spam"),
        Task(path="text/names18"),
        Task(
            path="multilabel/emotions_text", kind="multilabel", columns=EMOTIONS, table="_onehot"
        ),
        Task(path="regression/emobank_text", kind="regression", columns=("valence",)),
        Task(
            path="regression/houses_images", kind="regression", modality="image",
            columns=("price",), positive=True,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    inputs: list[Any]
    """Texts, or paths of images."""
    targets: np.ndarray
    """`(n,)` numbers of classes, `(n, labels)` of 0 and 1, or `(n,)` numbers."""


def read(data: Path, task: Task) -> tuple[Part, Part, list[str]]:
    """The training and the test part, and the names of classes, labels or the column."""
    folder = data / task.path
    rows = [
        _class_folders(folder / part)
        if task.modality == "image" and task.kind == "classification"
        else _table(folder / f"{part}{task.table}.csv", task)
        for part in ("train", "test")
    ]
    names = list(task.columns)
    if task.kind == "classification":
        names = sorted({target for _, target in rows[0]})
        rows = [[(x, names.index(target)) for x, target in part] for part in rows]
    train, test = (
        Part(inputs=[x for x, _ in part], targets=np.array([target for _, target in part]))
        for part in rows
    )
    return train, test, names


def sample(train: Part, count: int, seed: int) -> Part:
    """So many training samples of each class, the same for every peer."""
    draw = np.random.default_rng(seed)
    places = np.concatenate(
        [
            draw.permutation(np.flatnonzero(train.targets == number))[:count]
            for number in np.unique(train.targets)
        ]
    )
    places.sort()
    return Part(inputs=[train.inputs[k] for k in places], targets=train.targets[places])


def write_job(
    folder: Path,
    *,
    task: Task,
    train: Part,
    test: Part,
    names: list[str],
    weights: Path,
    seed: int,
    seconds: float,
    input_size: int | None,
) -> None:
    """`job.json`, the images under names that tell no class, and the weights in float32, the
    precision that every peer trains in."""
    inputs = [
        part.inputs if task.modality == "text" else _copied(part.inputs, folder / name)
        for name, part in (("train", train), ("test", test))
    ]
    shutil.copytree(weights, folder / "weights")
    state = load_file(weights / "model.safetensors")
    state = {
        key: value.astype(np.float32) if value.dtype == np.float16 else value
        for key, value in state.items()
    }
    save_file(state, folder / "weights" / "model.safetensors", metadata={"format": "pt"})
    fields = {
        "task": task.kind,
        "modality": task.modality,
        "names": names,
        "weights": str(folder / "weights"),
        "seed": seed,
        "seconds": seconds,
        "input_size": input_size,
        "train": inputs[0],
        "targets": train.targets.tolist(),
        "test": inputs[1],
    }
    (folder / "job.json").write_text(json.dumps(fields))


def _class_folders(folder: Path) -> list[tuple[Path, Any]]:
    files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return [(file, file.parent.name) for file in files]


def _table(path: Path, task: Task) -> list[tuple[Any, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if task.modality == "image":
        pictures = path.parent / path.stem.removesuffix(task.table)
        inputs = [pictures / row["image"] for row in rows]
    else:
        inputs = [row["text"] for row in rows]
    if task.kind == "multilabel":
        targets = [[int(row[column]) for column in task.columns] for row in rows]
    else:
        as_is = str if task.kind == "classification" else float
        targets = [as_is(row[task.columns[0]]) for row in rows]
    return list(zip(inputs, targets, strict=True))


def _copied(files: list[Path], folder: Path) -> list[str]:
    folder.mkdir()
    targets = [folder / f"{number:05}{file.suffix.lower()}" for number, file in enumerate(files)]
    for file, target in zip(files, targets, strict=True):
        shutil.copyfile(file, target)
    return [str(target) for target in targets]
