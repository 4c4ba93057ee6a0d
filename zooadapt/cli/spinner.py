"""What is being done at the moment, as one moving line on a terminal's stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zooadapt.runtime import distributed

if TYPE_CHECKING:
    from rich.status import Status


class Spinner:
    """One line, which is taken away before anything else is printed. Without a terminal, for
    `--json`, and in all processes but the main one there is none."""

    def __init__(self) -> None:
        self._shows = False
        self._status: Status | None = None
        self._reminder: threading.Timer | None = None

    @contextmanager
    def during(self, what: str, *, as_json: bool) -> Iterator[None]:
        """Show a line, and those that `show` puts in its place, until the block ends."""
        self._shows = distributed.is_main() and not as_json and sys.stderr.isatty()
        self.show(what)
        try:
            yield
        finally:
            self.hide()
            self.forget()
            self._shows = False

    def remind(self, seconds: float, say: Callable[[str], None], line: str) -> None:
        """Say a line, unless within so many seconds it is forgotten or the command ends."""
        self.forget()
        self._reminder = threading.Timer(seconds, say, [line])
        self._reminder.daemon = True
        self._reminder.start()

    def forget(self) -> None:
        """Say no line that waits."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

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
