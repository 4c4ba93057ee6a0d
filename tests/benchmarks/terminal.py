"""Draws the picture of a terminal in README.md: a real run, and what it prints.

    python tests/benchmarks/terminal.py SOURCE DATA zooadapt/docs/terminal.svg

SOURCE and DATA are folders. The commands run with an empty cache in a folder where the two are
called `mobilenetv2` and `flowers`, and where `photo.jpg` is the first photo of DATA's test part.
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import termios
import threading
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = (
    "zooadapt adapt mobilenetv2 flowers --strategy probe -o model",
    "zooadapt predict model photo.jpg --top 2",
)
COLUMNS = 104


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("svg", type=Path)
    arguments = parser.parse_args()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "mobilenetv2").symlink_to(arguments.source.resolve())
        (place / "flowers").symlink_to(arguments.data.resolve())
        photos = sorted((arguments.data / "test").glob("*/*.jpg"))
        (place / "photo.jpg").write_bytes(photos[0].read_bytes())
        for command in COMMANDS:
            console.print(Text(f"$ {command}", style="bold"))
            console.print(Text.from_ansi(run(command, place)))
    svg = console.export_svg(title="zooadapt")
    # rich names a font on a web server; a picture of the documentation asks nobody for anything.
    arguments.svg.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), "utf-8")


def run(command: str, place: Path) -> str:
    """What a command prints in `place`, stdout on a terminal and stderr not: so no bar moves."""
    environment = {
        **os.environ, "ZOOADAPT_CACHE": str(place / "cache"), "TERM": "xterm-256color",
    }  # fmt: skip
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, COLUMNS))
    words = [sys.executable, "-m", *shlex.split(command)]
    printed: list[bytes] = []
    process = subprocess.Popen(
        words, cwd=place, env=environment, stdout=terminal, stderr=subprocess.PIPE
    )
    os.close(terminal)
    readers = [
        threading.Thread(target=collect, args=(descriptor, printed))
        for descriptor in (controller, process.stderr.fileno())
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if process.wait():
        sys.exit(f"'{command}' failed:\n" + b"".join(printed).decode())
    return b"".join(printed).decode().replace("\r\n", "\n").rstrip("\n")


def collect(descriptor: int, printed: list[bytes]) -> None:
    """Adds what comes from a descriptor, in the order of its coming, until its end."""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # how a terminal says that nobody writes to it any more
            return
        if not data:
            return
        printed.append(data)


if __name__ == "__main__":
    main()
