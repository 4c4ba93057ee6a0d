"""What commands print on terminals of several widths: no word is broken, no heading is lost."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from zooadapt.cli.tables import fitted

BORDER = str.maketrans(dict.fromkeys("┏━┳┓┃┡╇┩│└─┴┘", " "))


def on_terminal(columns: int, *arguments: object) -> list[str]:
    """Lines that a command prints on a terminal of so many columns."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "zooadapt", *map(str, arguments)],
        stdout=inner,
        stderr=subprocess.DEVNULL,
        env={name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm"},
    )
    os.close(inner)
    parts = []
    while True:
        try:
            part = os.read(outer, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(outer)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode())
    return text.replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(("columns", "spared"), [(100, ()), (80, ("F1",)), (60, ("F1", "n"))])
def test_tables_of_a_run_fit_the_terminal(
    columns: int, spared: tuple[str, ...], pictures: Path, tmp_path: Path
) -> None:
    lines = on_terminal(
        columns, "adapt", "digits04", pictures, "-o", tmp_path / "out", "--strategy", "probe"
    )
    drawn = [line for line in lines if line[:1] in "┏┃┡│└"]
    assert drawn and all(len(line) <= columns for line in drawn)
    words = " ".join(line.translate(BORDER) for line in drawn).split()
    heads = {"measured", "accuracy", "interval", "macro", "F1", "n"}
    missing = heads - set(words)
    assert missing <= {"macro", *spared} and ("F1" in missing) == ("macro" in missing)
    assert {"val", "leave-one-out", "majority", "test"} <= set(words)
    assert any(len(line.split(" to ")) > 1 for line in drawn)  # an interval on one line


def test_the_table_of_stages_keeps_its_headings() -> None:
    lines = on_terminal(60, "inspect", "digits04")
    drawn = [line for line in lines if line[:1] in "┏┃┡│└"]
    assert drawn and all(len(line) <= 60 for line in drawn)
    words = " ".join(line.translate(BORDER) for line in drawn).split()
    assert {"freeze_at", "stage", "ms"} <= set(words)


def rendered(columns: int, heads: list[str], rows: list[list[str]], **options: object) -> list[str]:
    console = Console(width=columns, record=True, file=io.StringIO())
    options = {"spare": (), "short": (), **options}
    console.print(fitted("", heads, rows, columns, **options))
    return console.export_text().splitlines()


@pytest.mark.parametrize("columns", [100, 60, 40, 25])
def test_cells_are_wrapped_between_words_or_written_as_lines(columns: int) -> None:
    heads = ["source", "", "what is known of it"]
    rows = [["org/a-name-of-25-characters", "", "a sentence of some eight short words here"],
            ["b", "x", "日本語の長いことば"]]  # fmt: skip
    lines = rendered(columns, heads, rows)
    assert all(cell_len(line) <= columns for line in lines)
    words = set(" ".join(line.translate(BORDER) for line in lines).replace(":", " ").split())
    assert {word for row in rows for cell in row for word in cell.split()} - words <= (
        {"org/a-name-of-25-characters"} if columns == 25 else set()
    )
    assert {"source", "what", "known"} <= words


def test_a_narrow_confusion_matrix_has_numbers_as_headings() -> None:
    names = ["dandelion", "a lesser celandine", "sunflower"]
    rows = [[str(k), name, "3", "4", "5"] for k, name in enumerate(names, 1)]
    wide = rendered(80, ["", "", *names], rows, short=["", "", "1", "2", "3"])
    narrow = rendered(50, ["", "", *names], rows, short=["", "", "1", "2", "3"])
    assert "sunflower" in wide[1] and narrow[1].translate(BORDER).split() == ["1", "2", "3"]
