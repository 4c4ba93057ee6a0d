"""How long work says where it is. The core reports; the command line decides how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Progress:
    """Silent. Subclasses show something."""

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A piece of work of known size; the yielded function says that `n` more are done."""
        yield lambda n: None

    def doing(self, what: str, *, shows: bool = False) -> None:
        """What is being done from now on, until something else is said. shows: it has a way of its
        own to show how far it is, as a download has."""

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        """The plan, once it is decided and before it is carried out. seconds: what it will take at
        most, where that is known."""

    def say(self, line: str) -> None:
        """A decision or finding worth a line."""
