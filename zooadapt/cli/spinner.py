"""The current activity, as one moving line on a terminal's stderr."""

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
    """One line, which is removed before anything else is printed. It is shown on a terminal, by the
    main process, without `--json`."""

    def __init__(self) -> None:
        self._shows = False
        self._status: Status | None = None
        self._reminder: threading.Timer | None = None

    @contextmanager
    def during(self, what: str, *, as_json: bool) -> Iterator[None]:
        """Show a line, and those that replace it, until the block ends."""
        self._shows = distributed.is_main() and not as_json and sys.stderr.isatty()
        self.show(what)
        try:
            yield
        finally:
            self.hide()
            self.cancel()
            self._shows = False

    def remind(self, seconds: float, say: Callable[[str], None], line: str) -> None:
        """Print a line after so many seconds, unless it is cancelled or the command ends before."""
        self.cancel()
        self._reminder = threading.Timer(seconds, say, [line])
        self._reminder.daemon = True
        self._reminder.start()

    def cancel(self) -> None:
        """Cancel the line that waits."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    def show(self, what: str) -> None:
        """Replace the line; without effect where none is shown."""
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
        """Remove the line from the terminal."""
        if self._status is not None:
            self._status.stop()
            self._status = None


spinner = Spinner()
"""There is one, as there is one terminal."""
