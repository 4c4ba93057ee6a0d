"""Progress as programs of others show it: on a terminal's stderr, or below a notebook's cell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.wording import printable


def progress_of(wanted: bool | None) -> Progress:
    """What shows how far work is: something where it is wanted, nothing where not; by default
    something in a notebook and on a terminal. Of several processes the main one alone shows it."""
    if wanted is None:
        wanted = _in_notebook() or sys.stderr.isatty()
    return Shown() if wanted and distributed.is_main() else Progress()


@contextmanager
def quiet(progress: Progress) -> Iterator[None]:
    """Where nothing is to be shown, the bars of downloads are not either."""
    if isinstance(progress, Shown) or not sys.stderr.isatty():
        yield
        return
    from huggingface_hub import utils

    before = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            utils.enable_progress_bars()


class Shown(Progress):
    """The plan and what is worth a line as text, work of known size as a bar that goes when it is
    done."""

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich import progress as bars

        console = _console()
        if not _draws_bars(console):
            yield lambda n: None
            return
        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=console, transient=True) as shown:
            task = shown.add_task(what, total=total)
            yield lambda n: shown.advance(task, n)

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        for line in lines:
            self.say(line)

    def say(self, line: str) -> None:
        _console().print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _draws_bars(console: Any) -> bool:
    """Whether a bar can move: in a file it leaves empty lines, and in a notebook without ipywidgets
    a warning each time."""
    return find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
