"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from zooadapt.runtime.ranges import seconds

if TYPE_CHECKING:
    from zooadapt.data import ReadOptions

_READING = (
    click.option(
        "--text-column", default="text", show_default=True, help="Tables: the text; a pair: A,B."
    ),
    click.option("--label-column", default="label", show_default=True, help="Tables: the label."),
    click.option("--encoding", default="auto", show_default=True, help="Of tables and texts."),
    click.option("--separator", help="CSV: comma, semicolon, tab, bar or another character."),
    click.option("--skip-bad", is_flag=True, help="Leave out, and count, images that are broken."),
    click.option("--drop-unlabelled", is_flag=True, help="Tables: leave out empty labels."),
    click.option("--allow-tiny", is_flag=True, help="Accept classes with a single sample."),
    click.option(
        "--train-folder", help="Images: where the class folders to learn from are, below DATA."
    ),
    click.option("--test-folder", help="Likewise those to measure on."),
    click.option("--follow-links", is_flag=True, help="Follow links that leave the folder."),
    click.option("--strict", is_flag=True, help="Refuse samples that are in train and test."),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=50_000_000,
        show_default=True,
        help="Largest image that is decoded.",
    ),
)
_RUNNING = (
    click.option("--offline", is_flag=True, help="Open no connection; use what is cached."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
)


class Duration(click.ParamType):
    """A time such as `90s`, `10m` or `1.5h`, in seconds; a bare number is seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            return seconds(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write 90s, 10m or 1h", param, ctx)


class Probability(click.ParamType):
    """A number from 0 to 1; click's own range lets `nan` pass."""

    name = "probability"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            if 0 <= float(value) <= 1:
                return float(value)
        except ValueError:
            pass
        self.fail(f"{value!r} is no probability; write a number from 0 to 1", param, ctx)


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a data set is read; the command takes them as `**options` for `read_options`."""
    return _all(_READING, command)


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--offline` and `--json`."""
    return _all(_RUNNING, command)


def precision(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="auto: bf16 where it is faster here.",
    )(command)


def read_options(options: dict[str, Any]) -> ReadOptions:
    """The reading options taken out of a command's options."""
    from zooadapt.data import ReadOptions

    names = [parameter for parameter in ReadOptions.__dataclass_fields__ if parameter in options]
    return ReadOptions(**{name: options.pop(name) for name in names})


def _all(options: tuple[Any, ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
