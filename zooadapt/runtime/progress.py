"""Progress of a run. The core reports it; the command line displays it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Progress:
    """Reports nothing; subclasses display what they receive."""

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A task of `total` items; the yielded function reports `n` more as done."""
        yield lambda n: None

    def doing(self, what: str, *, shows: bool = False) -> None:
        """The activity from now on, until the next report. shows: the activity displays its own
        progress, as a download does."""

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        """The plan, before the run carries it out. seconds: the most it will take, if known."""

    def say(self, line: str) -> None:
        """A decision or result, as one line."""
