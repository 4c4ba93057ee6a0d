"""Columns in memory: two lists, a table of pandas or Arrow, a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zooadapt.data import table_files
from zooadapt.data.columns import Columns
from zooadapt.data.dialects import ROWS
from zooadapt.data.options import ReadOptions
from zooadapt.errors import DataError, UsageError
from zooadapt.family.modality import Modality

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES, SECOND, LABELS = "text", "second text", "label"
"""Columns of a pair of lists: texts (the first of pairs of texts) or other samples, and labels."""


class Frame(Protocol):
    """Named columns of one length."""

    names: list[str]

    def __len__(self) -> int: ...

    def values(self, name: str) -> Sequence[Any]:
        """A column as Python objects."""
        ...

    def select(self, place: str, selection: Columns) -> pa.Table:
        """The selected columns as a table of Arrow; `place` is the frame's name in messages.

        Raises: DataError for a column that is missing, or has values of several types.
        """
        ...


def frame_of(data: Any, modality: Modality) -> Frame | None:
    """The columns of a pair of lists or of a table; None for other data.

    Raises: DataError for a pair of different lengths.
    """
    if _is_of(data, "pandas", "DataFrame"):
        return _Lists({str(name): data[name] for name in data.columns})
    if _is_of(data, "datasets", "Dataset"):
        return _Arrow(data.with_format("arrow")[:])
    if hasattr(data, "__arrow_c_stream__") or _is_of(data, "pyarrow", "RecordBatch"):
        import pyarrow as pa

        return _Arrow(pa.table(data))
    if isinstance(data, Mapping) and data and all(map(_is_list, data.values())):
        return _Lists({str(name): column for name, column in data.items()})
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(map(_is_list, data)):
        samples, labels = data
        if len(samples) != len(labels):
            raise DataError(
                f"there are {len(samples)} samples and {len(labels)} labels",
                thing="data",
                remedy="give two lists of one length, the samples and their labels",
            )
        columns = {SAMPLES: samples, LABELS: labels}
        if modality.is_language and len(samples) and isinstance(samples[0], tuple):
            columns |= {SAMPLES: [one[0] for one in samples], SECOND: [one[1] for one in samples]}
        return _Lists(columns)
    return None


def samples_column(frame: Frame, modality: Modality, options: ReadOptions) -> str:
    """The column of samples: the one that the options name, else the text column if there is one,
    else the first with samples or files that has no labels or groups."""
    column: str | None = getattr(options, modality.column)
    if column is not None:
        return column
    if options.text_column in frame.names:
        return options.text_column
    others = (*options.labels, options.group_column)
    free = [name for name in frame.names if name not in others]
    likely = (n for n in free if len(frame) and _is_sample(frame.values(n)[0], modality))
    return next(likely, options.text_column)


def _is_sample(value: Any, modality: Modality) -> bool:
    """Whether this is a sample, the content of a file, a path, or a cell with these."""
    if isinstance(value, Mapping) and not modality.accepts(value):
        return {"bytes", "path"} <= value.keys()
    if isinstance(value, (str, Path)):
        return Path(value).is_file()
    return isinstance(value, bytes) or modality.accepts(value)


class _Lists:
    """Columns as sequences, arrays or series."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = columns
        self.names = list(columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def values(self, name: str) -> Sequence[Any]:
        return list(self._columns[name])

    def select(self, place: str, selection: Columns) -> pa.Table:
        import pyarrow as pa

        names = selection.select(place, self.names, self._peek)
        try:
            return pa.table({name: _array(name, self._columns[name]) for name in names})
        except pa.ArrowException as error:
            raise DataError(
                f"the columns of '{place}' differ in length", thing=place, remedy="make them alike"
            ) from error

    def _peek(self) -> dict[str, list[str | None]]:
        return {name: [str(one) for one in column[:ROWS]]
                for name, column in self._columns.items()}  # fmt: skip


class _Arrow:
    """A table of Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.names: list[str] = table.column_names

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def values(self, name: str) -> Sequence[Any]:
        return _Cells(self._table.column(name))

    def select(self, place: str, selection: Columns) -> pa.Table:
        return table_files.select(self._table, place, selection)


class _Cells(Sequence[Any]):
    """The cells of a column, converted to Python objects one at a time."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        return self._column[index].as_py()


def _array(name: str, column: Any) -> pa.Array:
    import pyarrow as pa

    if hasattr(column, "__array__") and not _is_of(column, "pandas", "Series"):
        import numpy as np

        column = np.asarray(column)
        if column.ndim == 2 and column.dtype.kind in "biuf":
            # As floats, they are numbers and no names of labels.
            column = column.ravel() if column.shape[1] == 1 else column.astype(float).tolist()
    elif len(column) and any(isinstance(one, (set, frozenset)) for one in column):
        column = [sorted(one) if isinstance(one, (set, frozenset)) else one for one in column]
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        why = (str(error).splitlines() or ["?"])[0][:200]
        raise DataError(
            f"column '{name}' has no texts or numbers of one type: {why}",
            thing=name,
            remedy="give strings",
        ) from error


def _is_list(value: Any) -> bool:
    if isinstance(value, (str, bytes, Mapping)):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _is_of(value: Any, library: str, name: str) -> bool:
    """Whether this is an instance of a library's class, without an import of it."""
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == library
        for kind in type(value).__mro__
    )


def unsupported_data(data: Any) -> UsageError:
    """The error for data of another type."""
    return UsageError(
        f"data of type '{type(data).__name__}' cannot be read",
        thing="data",
        remedy="give a path, 'hf:ID', two lists (samples, labels), a pandas or Arrow table or a "
        "datasets.Dataset",
    )
