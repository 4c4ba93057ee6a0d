"""Lists of samples as CSV files for spreadsheets: label issues, predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zooadapt.errors import OutputError
from zooadapt.runtime import filesystem, outputs

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_place(path: Path, columns: Sequence[str], *, option: str) -> None:
    """Check that a list may be written to `path`, which may hold an earlier list with the same
    columns and no other file. option: the file's option on the command line.

    Raises: OutputError when `path` is another file, and as `outputs.check_output_file`.
    """
    outputs.check_output_file(path)
    first = ",".join(columns).encode()
    with filesystem.reading(path):
        if not path.exists():
            return
        with path.open("rb") as file:
            earlier = file.read(len(first)) == first
    if not earlier:
        raise OutputError(
            f"'{path}' exists and is not a list that this command wrote",
            thing=str(path),
            remedy=f"choose another {option} file",
        )


def text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A list as CSV. Numbers have four decimals. An apostrophe precedes a cell that a spreadsheet
    would evaluate as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows(map(_cell, row) for row in rows)
    return out.getvalue()


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a list as `text` formats it.

    Raises: as `filesystem.write_file`.
    """
    filesystem.write_file(path, text(columns, rows).encode("utf-8", "backslashreplace"))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
