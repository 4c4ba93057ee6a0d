"""Other processes, which know of a family what its package and an export say, and nothing else."""

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
    """What importing a family's module does to a fresh interpreter: processor `seconds`, which a
    busy machine does not add to, `heavy` modules that are loaded after asking `claims`, what was
    `printed`.

    Raises: AssertionError with what the interpreter said when it failed.
    """
    job = {**_place(family), "config": config}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        input=json.dumps(job), capture_output=True, text=True, env=_environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"it cannot be imported alone: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def load_elsewhere(
    family: Family, folder: Path, n: int, *, channels: int
) -> tuple[Tensor, tuple[str, ...]]:
    """Logits `(n, K)` of an export for `n` synthesised samples, computed by another process, and
    what a second `build` opened there.

    Raises: AssertionError with what went wrong there.
    """
    import torch
    from safetensors.torch import load_file

    with TemporaryDirectory(prefix="zooadapt-check-") as out:
        job = {
            **_place(family),
            "path": sys.path,
            "folder": str(folder),
            "n": n,
            "channels": channels,
            "threads": torch.get_num_threads(),
            "out": f"{out}/logits.safetensors",
        }
        answer = _worker().ask(job)
        if "error" in answer:
            raise AssertionError(f"in a clean process: {answer['error']}")
        return load_file(job["out"])["logits"], tuple(answer["touched"])


class _Worker:
    """One other process for all exports: starting it costs seconds, and no export knows of another.
    Jobs and answers are lines of JSON."""

    def __init__(self) -> None:
        self._stderr = TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zooadapt.testing.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
            text=True, env=_environment(),
        )  # fmt: skip
        atexit.register(self._process.kill)

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        if self._process.poll() is None:
            print(json.dumps(job), file=self._process.stdin, flush=True)
            if line := self._process.stdout.readline():
                return json.loads(line)
        self._stderr.seek(0)
        said = self._stderr.read().strip()[-500:]
        _worker.cache_clear()
        return {"error": f"it died with {self._process.wait()}: {said}"}


_worker = cache(_Worker)


def _place(family: Family) -> dict[str, str]:
    return {"module": type(family).__module__, "name": type(family).__name__}


def _environment() -> dict[str, str]:
    """This process's, with its import path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
