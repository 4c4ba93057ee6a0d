"""What is asked for and cannot be meant: refused at once, in one line or one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def zooadapt(*arguments: object, **process: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "zooadapt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **process)


@pytest.mark.parametrize(
    ("arguments", "thing", "words"),
    [
        (["adapt"], "source", "Missing argument 'SOURCE'"),
        (["adapt", "a", "b"], "--out", "Missing option"),
        (["adapt", "a", "b", "-o", "c", "--bogus"], "--bogus", "No such option '--bogus'"),
        (["predict", "m", "i", "--reject-below", "nan"], "--reject-below", "no probability"),
        (["inspect", "s", "--batch-size", "0"], "--batch-size", "not in the range"),
        (["nosuch"], "", "No such command"),
    ],
)
def test_a_wrong_command_line_is_json_where_that_was_asked_for(
    arguments: list[str], thing: str, words: str
) -> None:
    done = zooadapt(*arguments, "--json")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ") and words in line
    said = json.loads(done.stdout)
    assert said.keys() == {"code", "kind", "thing", "remedy"}
    assert (said["code"], said["kind"], said["thing"]) == (2, "UsageError", thing)
    plain = zooadapt(*arguments)
    assert plain.returncode == 2 and plain.stdout == "" and "Usage: " in plain.stderr
