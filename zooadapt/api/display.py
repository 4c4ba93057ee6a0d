"""Progress of calls from Python: on a terminal's stderr, or below a notebook's cell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from zooadapt.runtime import distributed
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.wording import printable


def progress_of(visible: bool | None) -> Progress:
    """The display of progress: visible or not; by default visible in a notebook and on a terminal.
    Only the main process of several shows it."""
    if visible is None:
        visible = _in_notebook() or sys.stderr.isatty()
    return Display() if visible and distributed.is_main() else Progress()


@contextmanager
def quiet(progress: Progress) -> Iterator[None]:
    """Hide the bars of downloads too if progress is hidden."""
    if isinstance(progress, Display) or not sys.stderr.isatty():
        yield
        return
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            enable_progress_bars()


class Display(Progress):
    """Plans and messages as lines, tasks as bars that disappear when they are done."""

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
        with bars.Progress(*columns, console=console, transient=True) as display:
            task = display.add_task(what, total=total)
            yield lambda n: display.advance(task, n)

    def plan(self, lines: Sequence[str], *, seconds: float | None) -> None:
        for line in lines:
            self.say(line)

    def say(self, line: str) -> None:
        _console().print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _draws_bars(console: Any) -> bool:
    """Whether a bar can move: in a file it would leave empty lines, and in a notebook without
    ipywidgets a warning each time."""
    return find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
