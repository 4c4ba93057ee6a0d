"""Commands as processes of their own: what they print, and what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a process took."""

    seconds: float
    """Wall clock, start-up included."""
    cpu: float
    """Seconds of all its threads, which other work on the machine hardly changes."""
    peak: float
    """Its largest resident size in bytes."""


def run(command: list[str], environment: dict[str, str]) -> tuple[Any, Cost]:
    """The JSON object on the last line of a command's output, and its cost; where it fails, its
    exit code and last words."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cost = Cost(
            seconds=time.perf_counter() - started,
            cpu=usage.ru_utime + usage.ru_stime,
            peak=1024.0 * usage.ru_maxrss,
        )
        said.seek(0)
        text = said.read()
    if process.returncode:
        return {"error": process.returncode, "said": text[-300:]}, cost
    return json.loads(text.splitlines()[-1]), cost


def zooadapt(arguments: list[str], cache: Path) -> tuple[Any, Cost]:
    """The same for a zooadapt command with a cache folder of its own."""
    command = [sys.executable, "-m", "zooadapt", *arguments, "--json"]
    return run(command, {"ZOOADAPT_CACHE": str(cache)})
