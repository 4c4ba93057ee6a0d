"""Lists of samples as CSV files that a spreadsheet opens: suspected labels, predictions."""

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
    """See that a list may be written there: in the place of an earlier one that begins with the
    same columns, but of nothing else. option: what names the file on the command line.

    Raises: OutputError when another file is there, and as `outputs.check_output_file`.
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
            f"'{path}' is there and is no list that this command writes",
            thing=str(path),
            remedy=f"choose another {option} file",
        )


def text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A list as CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe,
    numbers have four decimals."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(map(_plain, columns))
    lines.writerows(map(_plain, row) for row in rows)
    return out.getvalue()


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a list as `text` gives it.

    Raises: as `fsops.write_file`.
    """
    filesystem.write_file(path, text(columns, rows).encode("utf-8", "backslashreplace"))


def _plain(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text
