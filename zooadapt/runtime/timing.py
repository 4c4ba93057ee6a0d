"""Where the seconds of a run went, and heavy imports hidden behind other work."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_IMPORTS = "imports"


def importing() -> bool:
    """Whether modules are being imported ahead at this moment."""
    return any(thread.name == _IMPORTS for thread in threading.enumerate())


class Clock:
    """Wall-clock seconds by part, monotonic. `imports` counts as start-up, not as work."""

    def __init__(self, *, trained: float = 0.0) -> None:
        """trained: seconds of training that an interrupted run has left to this one."""
        self._started = time.monotonic() - trained
        self._parts = {"train": trained} if trained else {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the part of that name."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + time.monotonic() - started

    def deadline(self, budget: float) -> float:
        """The `time.monotonic()` moment at which `budget` seconds of work will be spent."""
        return self._started + self._parts.get("imports", 0.0) + budget

    def seconds(self) -> dict[str, float]:
        """`total` since the clock was made, without imports, and each part, in seconds."""
        waited = self._parts.get("imports", 0.0)
        return {"total": time.monotonic() - self._started - waited, **self._parts}


class Imports:
    """Modules imported by a thread, so that reading the data need not wait for them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._thread = threading.Thread(target=self._run, name=_IMPORTS, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once they are there. A module that cannot be imported raises where it is used."""
        self._thread.join()

    def _run(self) -> None:
        for name in self._names:
            try:
                importlib.import_module(name)
            except Exception:
                return
