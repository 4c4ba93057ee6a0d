"""What is being done at the moment, as one moving line on a terminal's stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zooadapt import processes

if TYPE_CHECKING:
    from rich.status import Status


class Spinner:
    """One line, which is taken away before anything else is printed. Without a terminal, for
    `--json`, and in all processes but the main one there is none."""

    def __init__(self) -> None:
        self._shows = False
        self._status: Status | None = None

    @contextmanager
    def during(self, what: str, *, as_json: bool) -> Iterator[None]:
        """Show a line, and those that `show` puts in its place, until the block ends."""
        self._shows = processes.is_main() and not as_json and sys.stderr.isatty()
        self.show(what)
        try:
            yield
        finally:
            self.hide()
            self._shows = False

    def show(self, what: str) -> None:
        """This is being done now."""
        if not self._shows:
            return
        from rich.console import Console
        from rich.status import Status
        from rich.text import Text

        if self._status is None:
            self._status = Status(Text(what), console=Console(stderr=True))
            self._status.start()
        else:
            self._status.update(Text(what))

    def hide(self) -> None:
        """Leave the terminal to somebody else."""
        if self._status is not None:
            self._status.stop()
            self._status = None


spinner = Spinner()
"""The command's own: there is one terminal."""
