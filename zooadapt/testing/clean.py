"""Other processes, which know a family by its package and an export alone."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any

from zooadapt.family import Family

if TYPE_CHECKING:
    from torch import Tensor

_IMPORT = """
import contextlib, io, json, sys, time
import zooadapt.errors, zooadapt.family
job, noise = json.load(sys.stdin), io.StringIO()
with contextlib.redirect_stdout(noise):
    started = time.process_time()
    module = __import__(job["module"], fromlist=["_"])
    seconds = time.process_time() - started
    family = getattr(module, job["name"])()
    family.claims(job["config"])
heavy = [name for name in ("torch", "tensorflow", "jax", *family.imports) if name in sys.modules]
print(json.dumps({"seconds": seconds, "heavy": heavy, "printed": noise.getvalue()}))
"""


def import_alone(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """What importing a family's module does in a fresh interpreter: `seconds` of processor time,
    which a busy machine does not lengthen; `heavy` modules loaded after a call of `claims`; the
    text `printed`.

    Raises: AssertionError with the interpreter's error.
    """
    job = {**_place(family), "config": config}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        input=json.dumps(job), capture_output=True, text=True, env=_environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"it cannot be imported alone: {done.stderr.strip()[-500:]}")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def load_elsewhere(family: Family, folder: Path, n: int) -> tuple[Tensor, tuple[str, ...]]:
    """Logits `(n, K)` of an export for `n` synthesised samples, computed by another process, and
    what a second `build` opened there.

    Raises: AssertionError with the other process's error.
    """
    import torch
    from safetensors.torch import load_file

    with TemporaryDirectory(prefix="zooadapt-check-") as out:
        logits = Path(out) / "logits.safetensors"
        job = {
            **_place(family),
            "path": sys.path,
            "folder": str(folder),
            "n": n,
            "threads": torch.get_num_threads(),
            "out": str(logits),
        }
        answer = _worker().ask(job)
        if "error" in answer:
            raise AssertionError(f"in a clean process: {answer['error']}")
        return load_file(logits)["logits"], tuple(answer["touched"])


class _Worker:
    """One other process for all exports, since starting one takes seconds. Jobs and answers are
    lines of JSON."""

    def __init__(self) -> None:
        self._stderr = TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zooadapt.testing.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
            text=True, env=_environment(),
        )  # fmt: skip
        atexit.register(self._process.kill)

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        answers = self._process.stdout
        if self._process.poll() is None and answers is not None:
            print(json.dumps(job), file=self._process.stdin, flush=True)
            if line := answers.readline():
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._stderr.seek(0)
        stderr = self._stderr.read().strip()[-500:]
        _worker.cache_clear()
        return {"error": f"it ended with code {self._process.wait()}: {stderr}"}


_worker = cache(_Worker)


def _place(family: Family) -> dict[str, str]:
    return {"module": type(family).__module__, "name": type(family).__name__}


def _environment() -> dict[str, str]:
    """The environment of this process, with its import path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
