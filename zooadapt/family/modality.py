"""The interface of a modality, version 1: what a raw sample is, what holds it, how it is read.

The core reads and hashes files; a modality maps their content to raw samples, the input of a
family's preprocessor. This module imports no numpy, and importing a plugin's module should not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from zooadapt.errors import DataError

if TYPE_CHECKING:
    import numpy as np

MODALITY_VERSION = 1


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound: `(n,)` float32 samples of one channel in [-1, 1], `rate` of them a second.

    >>> import numpy as np
    >>> zooadapt.Clip(np.zeros(8000, np.float32), rate=16_000).seconds
    0.5
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, kw_only=True)
class View:
    """What a preprocessor takes of a raw sample; each modality heeds its own fields."""

    channels: int = 3
    """Images: 1 for grey, 3 for colour."""
    min_side: int | None = None
    """Images: pixels of the shorter side that suffice; None decodes in full."""
    white: int | None = None
    """Images: the value of more than eight bits a channel that is white."""
    rate: int | None = None
    """Sounds: samples a second; None keeps the file's own rate."""
    span: tuple[float, float] | None = None
    """Sounds: the first and the last second; None for the whole recording."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is decoded at most."""

    pixels: int = 50_000_000
    seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The properties and the fault of a file, or of a sample in memory."""

    error: DataError | None = None
    size: tuple[int, int] = (0, 0)
    """Images: width and height."""
    seconds: float = 0.0
    """The length of a recording."""
    white: int = 0
    """Images: the smallest possible white of more than eight bits a channel; 0 for eight bits."""
    remarks: tuple[str, ...] = ()
    """What is unusual, as it follows `1 image` in a note: `of several frames`."""


class Modality(ABC):
    """One kind of data. Subclass it, name the class in the entry-point group `zooadapt.modalities`,
    and every command of zooadapt works for families of this modality.

    A sample is a file with one of the `suffixes`, in a class folder or named by a table's cell; or,
    with `in_cells`, the cell itself, a line of a text file, or a whole text file.
    """

    api: ClassVar[int]
    """Version of the interface that the modality implements, as a literal: `api = 1`."""
    name: ClassVar[str]
    """Equal to the entry-point name; the `modality` of families."""
    noun: ClassVar[str]
    """The word for a sample in messages."""
    plural: ClassVar[str]
    pipeline_tag: ClassVar[str]
    """The Hub's name of the task that a classifier solves."""
    example: ClassVar[str]
    """A command that predicts one sample, for the card of a model; `{model}` is its place."""
    in_cells: ClassVar[bool] = False
    is_language: ClassVar[bool] = False
    """Whether samples are texts: two of them can be one sample, and unlabelled ones train a
    language model."""
    suffixes: ClassVar[Collection[str]] = ()
    formats: ClassVar[str] = ""
    """Two usual formats, for the advice to convert files."""
    sniffed: ClassVar[int] = 0
    """Bytes that `begins` needs."""
    column: ClassVar[str] = "sample_column"
    """The option of `zooadapt.data.ReadOptions` that names a table's column of samples."""
    columns: ClassVar[frozenset[str]] = frozenset()
    """Usual names of that column, in lower case, words separated by blanks."""
    feature: ClassVar[str] = ""
    """The class of the `datasets` library whose cells hold such files."""
    augmentations: ClassVar[tuple[str, ...]] = ()
    """Values of `--augment` with a meaning for such samples; the first is the default."""
    why_augmented: ClassVar[str] = ""
    """Why the default is the default."""
    has_size: ClassVar[bool] = False
    """Whether samples have a width and a height, so that a preprocessor crops or shrinks them."""
    has_length: ClassVar[bool] = False
    """Whether samples are recordings in time, which can be cut into windows."""
    near: ClassVar[float] = 0.999
    """Cosine of whitened features from which on two samples are near-duplicates. Measured:
    questions that differ in a word have up to 0.998."""

    @property
    def plugin(self) -> Modality | None:
        """A plugin's own modality, behind a proxy; None for a built-in one."""
        return None

    @abstractmethod
    def decode(self, file: BinaryIO, *, name: str, view: View, limits: Limits) -> Any:
        """The raw sample in a file's content, or in a cell's UTF-8. Threads may call it
        concurrently. Raises: DataError naming the file by `name`."""

    @abstractmethod
    def pieces(self, raw: Any) -> Iterable[bytes]:
        """All that a raw sample consists of: equal samples, and no others, have equal pieces."""

    @abstractmethod
    def synthesise(self, rng: np.random.Generator, *, view: View) -> Any:
        """A random raw sample, a function of `rng` and `view`; samples differ in size or length."""

    @abstractmethod
    def extremes(self, *, view: View) -> Sequence[Any]:
        """Raw samples that a preprocessor may stumble over: empty, tiny, very long."""

    def joined(self, raws: Sequence[Any]) -> Any:
        """One long sample made of several; None where samples have no length."""
        return None

    def is_named_so(self, name: str) -> bool:
        """Whether a file of this name is a sample."""
        return PurePath(name).suffix.lower() in self.suffixes

    def begins(self, head: bytes) -> bool:
        """Whether a file is a sample by its first bytes, whatever its suffix."""
        return False

    def examine(self, file: BinaryIO, *, name: str, limits: Limits, thoroughly: bool) -> Examined:
        """Look for faults of a file, by the cheapest means unless `thoroughly`."""
        try:
            self.decode(file, name=name, view=View(), limits=limits)
        except DataError as error:
            return Examined(error=error)
        return Examined()

    def accepts(self, value: Any) -> bool:
        """Whether a value in memory is a raw sample, or can be made one by `of_value`."""
        return False

    def is_single(self, value: Any) -> bool:
        """Whether a value in memory is one sample, and no list of them."""
        return self.accepts(value)

    def of_value(self, value: Any, *, name: str) -> Any:
        """The raw sample of a value in memory that is no file, path or content of a file. Raises:
        DataError naming it by `name`."""
        raise DataError(
            f"'{name}' is of type '{type(value).__name__}' and no {self.noun}",
            thing=name,
            remedy=f"give paths, or the content of {self.noun} files",
        )

    def examine_value(self, raw: Any) -> Examined:
        """The properties of a sample in memory."""
        return Examined()

    def viewed(self, raw: Any, view: View) -> Any:
        """A sample in memory as `decode` gives that of a file."""
        return raw

    def memory(self, raw: Any) -> int:
        """The bytes of a raw sample in memory."""
        return sum(map(len, self.pieces(raw)))

    def shown(self, raw: Any) -> str | None:
        """The text that stands for a sample in lists and reports; None where its name does."""
        return None
