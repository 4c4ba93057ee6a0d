"""A data set: samples in a fixed order, labels, classes, fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zooadapt.data import modalities
from zooadapt.family.modality import Modality, View
from zooadapt.runtime.choice import Choice
from zooadapt.tasks.cells import Cell
from zooadapt.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How a model's recordings were cut, which new ones are cut alike by."""

    window: float
    hop: float
    background: str | None = None
    """The class of what no row of a table names."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a recording, in seconds."""

    recording: str
    start: float
    end: float


class Samples(Protocol):
    """Raw samples of files, of a table's column or of a Hub data set."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Stable and relative: a posix path below the root, or `train.csv:ROW`."""
        ...

    def raw(self, index: int, view: View) -> Any: ...

    def window(self, index: int) -> Window | None:
        """The part of a recording that a sample is; None for a whole file."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Images: width and height; texts: zeros."""
        ...

    def digest(self, index: int) -> bytes:
        """SHA-256 of the sample's content; for a 16-bit image, of its white too."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The result of a reader: samples, and the part and class of each row to use."""

    samples: Samples
    rows: Sequence[int]
    parts: Sequence[str]
    """`train`, `val`, `test`, or `all` where the data is not divided."""
    names: Sequence[Cell]
    """Labels as written; None for a row without one."""
    columns: Sequence[str] = ()
    """The columns that labels are from; empty where folders name the classes."""
    groups: Sequence[str | None] = ()
    """The group of each row, None for a row without one; empty without a group column."""
    notes: Sequence[str] = ()
    white: int | None = None
    """The white value of 16-bit images; None where there are none."""
    cutting: Cutting | None = None
    """How recordings were cut into windows; None where they are whole."""


class Split:
    """Samples with labels, in a fixed order; subsets share their raw samples."""

    def __init__(
        self,
        samples: Samples,
        labels: np.ndarray,
        *,
        modality: str,
        strata: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        notes: Sequence[str] = (),
        learned: np.ndarray | None = None,
    ) -> None:
        """labels: `(n,)` or `(n, K)`, as the task has them; class indices are -1 for none; strata:
        `(n,)`, what a division shares out evenly, by default the labels; rows: `(n,)` positions in
        `samples`, by default all; groups: `(n,)` numbers, equal for samples that must not be split;
        notes: on how the samples were read; learned: `(n,)`, whether the pretrained model was
        trained on each sample."""
        self.modality = modality
        self.notes = tuple(notes)
        self.labels = np.asarray(labels)
        self.strata = self.labels if strata is None else strata
        self.groups = groups
        self.learned = np.zeros(len(self.labels), dtype=bool) if learned is None else learned
        self._samples = samples
        self._rows = np.arange(len(samples)) if rows is None else rows
        self.ids: Sequence[str] = _Names(samples, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kind(self) -> Modality:
        """The modality."""
        return modalities.named(self.modality)

    def raw(
        self,
        index: int,
        *,
        min_side: int | None = None,
        channels: int = 3,
        rate: int | None = None,
    ) -> Any:
        """A raw sample, as its modality gives it: a decoded `PIL.Image.Image` in mode `RGB` (`L`
        for one channel), a `str`.

        A JPEG may be decoded smaller, its shorter side at least `min_side`; a sound is resampled to
        `rate`.
        Raises: DataError naming a file that cannot be decoded.
        """
        return self.viewed(index, View(min_side=min_side, channels=channels, rate=rate))

    def viewed(self, index: int, view: View) -> Any:
        """A raw sample, as a preprocessor takes it. Raises: as `raw`."""
        return self._samples.raw(int(self._rows[index]), view)

    def window(self, index: int) -> Window | None:
        """The part of a recording that a sample is; None for a whole file."""
        return self._samples.window(int(self._rows[index]))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of an image as its file says, before it is turned upright."""
        return self._samples.size(int(self._rows[index]))

    def text(self, index: int) -> str | None:
        """The text that stands for a sample in lists; None where its name does."""
        return self.kind.shown(self.raw(index)) if self.kind.in_cells else None

    def digest(self, index: int) -> str:
        """SHA-256 (hex) of a sample's content: a file's bytes, a text's UTF-8."""
        return self.digests[index].hex()

    @cached_property
    def digests(self) -> list[bytes]:
        """Every sample's SHA-256, in order."""
        return [self._samples.digest(row) for row in self._rows.tolist()]

    def subset(self, indices: np.ndarray) -> Split:
        """The samples at these positions, in this order."""
        indices = np.asarray(indices, dtype=np.int64)
        part = Split(
            self._samples,
            self.labels[indices],
            modality=self.modality,
            strata=self.strata[indices],
            rows=self._rows[indices],
            groups=None if self.groups is None else self.groups[indices],
            notes=self.notes,
            learned=self.learned[indices],
        )
        if "digests" in self.__dict__:
            part.__dict__["digests"] = [self.digests[k] for k in indices]
        return part

    def with_learned(self, learned: np.ndarray) -> Split:
        """The same samples, of which the pretrained model was trained on these."""
        part = self.subset(np.arange(len(self)))
        part.learned = learned
        return part


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labelled set with its training and test part."""

    location: str
    modality: str
    task: Task
    """What is to be learned: its `outputs` name the classes, labels or columns."""
    everything: Split
    train: Split
    test: Split | None
    has_own_test: bool
    """Whether the test part is the data's own; otherwise it was split off."""
    validation: np.ndarray | None = None
    """`(n,)`, for each training sample whether it is of the data's own validation part; None for
    data without one."""
    notes: tuple[str, ...] = ()
    """Lines of the report about the data, with counts."""
    choices: tuple[Choice, ...] = ()
    """What was found in the data and why."""
    white: int | None = None
    """The white value of 16-bit images; None where there are none."""
    cutting: Cutting | None = None
    """How recordings were cut into windows; None where they are whole."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of what a head predicts; classes are sorted."""
        return self.task.outputs

    @property
    def name(self) -> str:
        """Its public name: the location without the path."""
        hub = self.location.startswith("hf:")
        return self.location if hub else Path(self.location).resolve().name

    def train_and_val(self) -> tuple[Split, Split] | None:
        """The training part without the data's own validation part, and the latter; None for data
        without one."""
        if self.validation is None:
            return None
        held_out = np.flatnonzero(self.validation)
        return self.train.subset(np.flatnonzero(~self.validation)), self.train.subset(held_out)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the sorted (part, label, content) of every sample: renamed files have the
        same fingerprint."""
        train, val = self.train_and_val() or (self.train, None)
        lines = sorted(
            f"{part} {self.task.spell(label)} {digest.hex()}"
            for part, split in (("train", train), ("val", val), ("test", self.test))
            if split is not None
            for label, digest in zip(split.labels, split.digests, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Names(Sequence[str]):
    def __init__(self, samples: Samples, rows: np.ndarray) -> None:
        self._samples, self._rows = samples, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._samples.name(int(row)) for row in self._rows[index]]
        return self._samples.name(int(self._rows[index]))


def content_digests(split: Split) -> list[bytes]:
    """Hashes that are equal for equal samples, such as images of equal pixels, whatever their
    files; every file is decoded."""
    if split.kind.in_cells:
        return split.digests

    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda k: digest_of(split.kind, split.raw(k)), range(len(split))))


def digest_of(modality: Modality, raw: Any) -> bytes:
    """SHA-256 of all that a raw sample consists of."""
    digest = hashlib.sha256()
    for piece in modality.pieces(raw):
        digest.update(piece)
    return digest.digest()
