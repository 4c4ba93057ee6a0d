"""The files that the cells of a table name, checked before any of them is read."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from zooadapt.data import tables
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import file_error
from zooadapt.data.tree import valid
from zooadapt.errors import DataError, NotFoundError
from zooadapt.family.modality import Modality
from zooadapt.runtime.wording import counted

_WRITE = "write each path from the table's folder"


class NamedFiles:
    """Files by their paths relative to a table, or to a folder beside it that holds the first one.
    All lie in the data's folder, and links lead out of it with `follow_links` only."""

    def __init__(self, root: Path, table: Path, modality: Modality, options: ReadOptions) -> None:
        """root: the data's folder, which contains the table."""
        self._root, self._table = root, table
        self._modality, self._options = modality, options
        self._real, self._name = os.path.realpath(root), root.absolute().name
        self._below = table.parent.relative_to(root).as_posix()
        self.notes: list[str] = []

    def paths(self, cells: Sequence[str], *, may_repeat: bool = False) -> list[str]:
        """Posix paths below the root of the files that the cells name, in order.

        Raises: DataError naming the row of an empty cell, a path that leaves the folder, or, unless
        it `may_repeat`, a file that another row names too; NotFoundError for missing files;
        AccessError.
        """
        self._find_folder(next(iter(cells), ""))
        paths = [self._path(row, cell) for row, cell in enumerate(cells)]
        missing = [row for row, path in enumerate(paths) if path is None]
        if missing:
            raise self._missing(missing, cells)
        first: dict[str, int] = {}
        present = [path for path in paths if path is not None]
        for row, path in enumerate(present):
            if (twin := first.setdefault(path, row)) != row and not may_repeat:
                raise DataError(
                    f"rows {twin + 1} and {row + 1} of '{self._table.name}' name the same "
                    f"{self._modality.noun}, '{path}'",
                    thing=path,
                    remedy="remove one of the rows"
                    + self._modality.has_length * ", or --start-column NAME --end-column NAME",
                )
        return present

    def _find_folder(self, cell: str) -> None:
        """Find the folder of the files, if the first one is not beside the table: `train` for
        `train.csv`, else the only folder beside the table with such a file."""
        if self._mode(posixpath.join(self._below, cell)) is not None:
            return
        names = [name for name in _folders_with(self._table.parent, cell) if name[0] != "."]
        names = [name for name in names if name == tables.stem_of(self._table.name)] or names
        if len(names) == 1:
            self._below = posixpath.join(self._below, names[0])
            self.notes.append(f"the paths in '{self._table.name}' start in folder '{names[0]}'")

    def _path(self, row: int, cell: str) -> str | None:
        """None for a file that is missing."""
        if not cell or cell.isspace():
            raise self._error(
                row, f"names no {self._modality.noun}", thing=self._table.name, remedy="remove it"
            )
        path = self._below_root(row, cell)
        mode = self._mode(path)
        if mode is None and "\\" in cell:  # as Windows separates folders
            path = self._below_root(row, cell.replace("\\", "/"))
            mode = self._mode(path)
        if mode is None:
            return None
        target = os.path.realpath(self._root / path)
        if not self._options.follow_links and not Path(target).is_relative_to(self._real):
            raise self._error(
                row,
                f"names '{path}', a link that leads out of '{self._name}', to '{valid(target)}'",
                thing=path,
                remedy="--follow-links, if that is meant",
            )
        if not stat.S_ISREG(mode):
            raise self._error(row, f"names '{path}', which is no file", thing=path, remedy=_WRITE)
        return path

    def _below_root(self, row: int, cell: str) -> str:
        path = posixpath.normpath(posixpath.join(self._below, cell))
        if posixpath.isabs(path) or path.split("/")[0] == "..":
            raise self._error(
                row,
                f"names '{cell}', a path that leaves the folder '{self._name}'",
                thing=cell,
                remedy=f"{_WRITE}, and put the {self._modality.plural} below its folder",
            )
        return path

    def _mode(self, path: str) -> int | None:
        """The kind of a file; None for one that is missing."""
        try:
            return os.stat(self._root / path).st_mode
        except PermissionError as error:
            raise file_error(error, path) from error
        except (OSError, ValueError):
            return None

    def _missing(self, rows: Sequence[int], cells: Sequence[str]) -> NotFoundError:
        cell = cells[rows[0]]
        alike = self._alike(cell)
        more = (
            f"; so are the {self._modality.plural} of {counted(len(rows) - 1, 'more row')}"
            if rows[1:]
            else ""
        )
        return NotFoundError(
            f"row {rows[0] + 1} of '{self._table.name}' names '{cell}', which is not there"
            + (f", though '{alike}' is" if alike else "")
            + more,
            thing=cell,
            remedy=_WRITE if alike else f"add the {self._modality.noun}, or remove the row",
        )

    def _alike(self, cell: str) -> str | None:
        """The path, from the table's folder, of a file that may be meant: of another suffix or
        case, or in a folder beside the table."""
        folder, name = posixpath.split(cell)
        place = self._root / self._below
        beside: list[str] = []
        with suppress(OSError):
            beside = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
        for where in (folder, *(posixpath.join(first, folder) for first in beside)):
            with suppress(OSError, ValueError):
                for other in sorted(os.listdir(place / where)):
                    if name.casefold() in (other.casefold(), PurePosixPath(other).stem.casefold()):
                        return posixpath.join(where, other)
        return None

    def _error(self, row: int, what: str, *, thing: str, remedy: str) -> DataError:
        return DataError(
            f"row {row + 1} of '{self._table.name}' {what}", thing=thing, remedy=remedy
        )


def _folders_with(place: Path, cell: str) -> list[str]:
    """Names of the folders in a folder from which a relative path leads to a file below them."""
    if ".." in PurePosixPath(cell).parts or os.path.isabs(cell):
        return []
    try:
        return [name for name in sorted(os.listdir(place)) if os.path.isfile(place / name / cell)]
    except OSError:
        return []
