"""Output of the commands: progress with time left, tables, and one JSON object for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from zooadapt.cli import streams
from zooadapt.cli.spinner import spinner
from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.wording import printable

_QUIET_SECONDS = 30.0


def emit(
    result: Mapping[str, Any], as_json: bool, show: Callable[[], None], *, stands: bool = False
) -> None:
    """Print the result to stdout, once: as one JSON object in ASCII, or by `show` for people.
    stands: the work is done, so a failure to print is no failure of the command."""
    if not distributed.is_main():
        return
    spinner.hide()
    if stands:
        streams.forgive()
    if as_json:
        print(json.dumps(result, sort_keys=True, allow_nan=False))
    else:
        show()


def say(*cells: Any) -> None:
    """Print cells to stdout, separated by tabs, their control characters escaped."""
    print(*(printable(str(cell)) for cell in cells), sep="\t")


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    spare: Sequence[int] = (),
    short: Sequence[str] = (),
) -> None:
    """Print a table to stdout; columns of numbers are aligned right, markup in cells is escaped. A
    narrow terminal omits the columns at `spare`, in that order, and takes the `short` headings."""
    from rich.console import Console

    from zooadapt.cli.tables import fitted

    console = Console(width=None if sys.stdout.isatty() else 120)
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    names = [printable(name) for name in columns]
    console.print(fitted(title, names, cells, console.width, spare=spare, short=short))


def progress(as_json: bool) -> Progress:
    """Bars on a terminal, a line every half minute elsewhere; on stderr, from the main process."""
    if not distributed.is_main():
        return Progress()
    return Bars() if sys.stderr.isatty() and not as_json else Lines()


class Lines(Progress):
    """Plain lines for logs, at most one every half minute."""

    def doing(self, what: str, *, shows: bool = False) -> None:
        spinner.remind(_QUIET_SECONDS, self.say, f"{what} …")

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        spinner.cancel()
        started = printed = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, printed
            done += n
            now = time.monotonic()
            if now - printed > _QUIET_SECONDS:
                printed = now
                left = (now - started) / done * (total - done)
                self.say(f"{what}: {done} of {total}, {left:.0f} s left")

        yield advance

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        for line in lines:
            self.say(line)

    def say(self, line: str) -> None:
        spinner.hide()
        print(printable(line), file=sys.stderr, flush=True)


class Bars(Lines):
    """rich's spinner and bars on a terminal: a bar for the current task, and one for the whole run
    if its longest duration is known."""

    def __init__(self) -> None:
        self._started, self._most = time.monotonic(), 0.0

    def doing(self, what: str, *, shows: bool = False) -> None:
        if shows:
            self.say(what)
        else:
            spinner.show(what)

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        super().plan(lines, seconds=seconds)
        self._most = seconds or 0.0

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        spinner.hide()
        from rich import progress as bars
        from rich.console import Console

        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=Console(stderr=True), transient=True) as display:
            task = display.add_task(what, total=total)
            seconds = round(self._most)
            run = display.add_task(
                "seconds of the run, at most", total=seconds, visible=seconds > 0
            )

            def advance(n: int) -> None:
                display.advance(task, n)
                spent = round(time.monotonic() - self._started)
                display.update(run, completed=min(spent, seconds))

            advance(0)
            yield advance
