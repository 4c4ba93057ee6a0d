"""What every command does with its arguments before it sees them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import click

from zooadapt.cli import synonyms
from zooadapt.cli.spinner import spinner


class Command(click.Command):
    """A command that says at once that it is at work, and that refuses an option given twice where
    it takes one value: click would take the last one and drop the others without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        with spinner.during("importing", as_json=ctx.params.get("as_json", False)):
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return self._parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise synonyms.option(error, self) from None

    def _parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for option in order:
                if isinstance(option, click.Option) and _repeated(option, order):
                    raise click.BadOptionUsage(
                        option.opts[-1], f"'{option.opts[-1]}' was given twice", ctx=ctx
                    )
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def command() -> Callable[[Callable[..., None]], Command]:
    """The decorator for a command of `zooadapt`."""
    return click.command(cls=Command)


def amended(arguments: Sequence[str], options: Sequence[str]) -> str:
    """The command line with these arguments and, in place of what it says of them, these options:
    name, value, name, value."""
    remaining, names = [], options[::2]
    rest = iter(arguments)
    for argument in rest:
        if argument in names:
            next(rest, None)
        elif argument.partition("=")[0] not in names:
            remaining.append(argument)
    return shlex.join(["zooadapt", *remaining, *options])


def _repeated(option: click.Option, order: list[click.Parameter]) -> bool:
    single = not (option.is_flag or option.multiple or option.count)
    return single and sum(other is option for other in order) > 1
