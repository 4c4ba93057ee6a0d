"""What a peer gets and gives: the one contract between the benchmark and each library.

A peer is a file of this folder with a function `predict(job)`, which trains on `job.train` within
`job.seconds` and returns a row of numbers for every input of `job.test`, in their order:

- classification: a probability for each of `job.names`, the classes;
- multilabel: a probability for each of `job.names`, the labels;
- regression: the one number.

It runs in an environment of its own, so this module needs Python's standard library alone. A peer
never sees a target of the test part.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task of the benchmark, as it lies in `folder/job.json`."""

    folder: Path
    """A peer may write here."""
    task: str
    """classification, multilabel or regression."""
    modality: str
    """image or text."""
    names: list[str]
    """The classes, the labels, or the one column of numbers."""
    weights: Path
    """A folder with `config.json` and `model.safetensors` in float32: timm's format for images,
    sentence-transformers' for texts."""
    seed: int
    seconds: float
    """Processor seconds of the whole process, start-up included."""
    input_size: int | None
    """Side of the images in pixels; None: that of the weights."""
    train: list[str]
    """Texts, or paths of images."""
    targets: list[Any]
    """Of the training samples: the number of the class, a 0 or 1 for every label, or a number."""
    test: list[str]

    def left(self) -> float:
        """Processor seconds of the budget that this process has left."""
        return self.seconds - time.process_time()

    def fits(self, seconds: float, *, spare: float) -> int:
        """How many epochs (or steps) of so many processor seconds fit, at least one, when `spare`
        seconds are set aside for the predictions."""
        return max(1, int((self.left() - spare) / seconds))

    def class_folders(self) -> Path:
        """A folder with the training images of each class below its number; made once."""
        root = self.folder / "classes"
        for file, target in zip(self.train, self.targets, strict=True):
            place = root / f"{target:04}"
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(file).name).symlink_to(file)
        return root


class Unable(Exception):
    """The peer cannot do this task, or not with these weights; the message says why."""


def load(folder: Path) -> Job:
    fields = json.loads((folder / "job.json").read_text())
    return Job(**fields | {"folder": folder, "weights": Path(fields["weights"])})


def run(predict: Callable[[Job], Sequence[Row]]) -> None:
    """Predict for the job in the folder `sys.argv[1]`, and print one line of JSON: `predictions`,
    or why there are none, as `unable` or `failed`."""
    try:
        rows = [[float(value) for value in row] for row in predict(load(Path(sys.argv[1])))]
        outcome: dict[str, Any] = {"predictions": rows}
    except Unable as reason:
        outcome = {"unable": str(reason)}
    except Exception as error:
        traceback.print_exc()
        outcome = {"failed": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(outcome), flush=True)


def held_out(job: Job, *, share: float = 0.2) -> tuple[list[int], list[int]]:
    """Places of the training samples to fit and to validate on, drawn at random class by class;
    for peers that ask for a validation part."""
    import random

    draw = random.Random(job.seed)
    groups: dict[Any, list[int]] = {}
    for place, target in enumerate(job.targets):
        key = target if job.task == "classification" else None
        groups.setdefault(key, []).append(place)
    fit: list[int] = []
    validate: list[int] = []
    for places in groups.values():
        draw.shuffle(places)
        count = max(1, round(share * len(places)))
        validate += places[:count]
        fit += places[count:]
    return sorted(fit), sorted(validate)
