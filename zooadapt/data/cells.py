"""Samples in the cells of tables, the lines of text files, or whole text files."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

from zooadapt.data.dataset import digest_of
from zooadapt.family.modality import Limits, Modality, View


class Texts(Protocol):
    """Texts in a fixed order, each with a name."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any:
        """A text, or a raw sample that was in memory. Raises: DataError for a file that changed."""
        ...

    def name_of(self, index: int) -> str: ...


class CellSamples:
    """Samples in the cells of one or more tables, or in text files, end to end."""

    def __init__(self, columns: Sequence[Texts], modality: Modality) -> None:
        self._columns, self._modality = columns, modality
        self._starts = [0]
        for column in columns:
            self._starts.append(self._starts[-1] + len(column))

    def __len__(self) -> int:
        return self._starts[-1]

    def name(self, index: int) -> str:
        column, row = self._find(index)
        return column.name_of(row)

    def raw(self, index: int, view: View) -> Any:
        column, row = self._find(index)
        cell = column[row]
        if self._modality.is_language or not isinstance(cell, str):
            return cell
        return self._modality.decode(
            io.BytesIO(cell.encode()), name=column.name_of(row), view=view, limits=Limits()
        )

    def window(self, index: int) -> None:
        return None

    def size(self, index: int) -> tuple[int, int]:
        return 0, 0

    def digest(self, index: int) -> bytes:
        return digest_of(self._modality, self.raw(index, View()))

    def _find(self, index: int) -> tuple[Texts, int]:
        """Raises: IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        table = bisect_right(self._starts, index) - 1
        return self._columns[table], index - self._starts[table]
