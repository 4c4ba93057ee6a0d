"""What a command is doing is printed while it does it, on a terminal alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zooadapt.cli.spinner import spinner

pty = pytest.importorskip("pty")


def test_a_terminal_shows_the_current_activity_at_once(pictures: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["adapt", "digits04", str(pictures), "-o", "out", "--epochs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zooadapt", *words],
        cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE, env=os.environ | {"COLUMNS": "160"},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while chunk := _read(ours):
        text += chunk
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    assert process.wait() == 0, printed
    steps = ["importing", f"reading {pictures}", "measuring in which precision",
             "measuring what the network costs", "plan: auto", "fitting the head",
             "writing out"]  # fmt: skip
    places = [printed.find(step) for step in steps]
    assert -1 not in places and places == sorted(places), (places, printed)
    assert "seconds of the run, at most" in printed  # beside whichever piece of work takes a moment
    assert b"accuracy" in process.stdout.read() and "accuracy \u2503" not in printed


def test_without_a_terminal_nothing_is_shown(tmp_path: Path) -> None:
    for more in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "zooadapt", "inspect", "digits04", *more],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert "stem" in done.stdout


def test_a_waiting_line_is_cancelled_with_its_command(capsys: pytest.CaptureFixture) -> None:
    with spinner.during("importing", as_json=False):
        spinner.remind(0.2, print, "reading …")
    with spinner.during("importing", as_json=False):
        spinner.remind(0.2, print, "writing …")
        time.sleep(0.6)
    assert capsys.readouterr().out == "writing …\n"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side was closed
        return b""
