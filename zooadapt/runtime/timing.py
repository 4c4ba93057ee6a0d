"""Seconds of a run by part, and heavy imports in a thread beside other work."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_IMPORTS = "imports"


def importing() -> bool:
    """Whether an `Imports` thread is running."""
    return any(thread.name == _IMPORTS for thread in threading.enumerate())


def elapsed(work: Callable[[], object]) -> float:
    """Wall-clock seconds of some work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Clock:
    """Wall-clock seconds by part. `imports` counts as start-up and not as work."""

    def __init__(self, *, trained: float = 0.0) -> None:
        """trained: seconds that an interrupted run, which this one resumes, has trained."""
        self._started = time.monotonic() - trained
        self._parts = {"train": trained} if trained else {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time spent inside the block to the part of that name."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + time.monotonic() - started

    def deadline(self, budget: float) -> float:
        """The `time.monotonic()` value at which `budget` seconds of work are spent."""
        return self._started + self._parts.get("imports", 0.0) + budget

    def seconds(self) -> dict[str, float]:
        """`total` since the clock started, without imports, and each part, in seconds."""
        waited = self._parts.get("imports", 0.0)
        return {"total": time.monotonic() - self._started - waited, **self._parts}


class Imports:
    """A thread that imports modules, so that reading the data need not wait for them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._thread = threading.Thread(target=self._run, name=_IMPORTS, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the thread has ended. A failed import raises where the module is used."""
        self._thread.join()

    def _run(self) -> None:
        for name in self._names:
            try:
                importlib.import_module(name)
            except Exception:
                return
