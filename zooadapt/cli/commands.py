"""What every command does with its arguments before it sees them, and how its help is laid out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from zooadapt.cli import synonyms
from zooadapt.cli.output import progress
from zooadapt.cli.spinner import spinner
from zooadapt.errors import UsageError
from zooadapt.runtime.options import Group as Heading

_FEW = 8
"""Options that are listed without headings."""
_WIDEST = 26
"""Characters of an option beside its help; the help of a wider one begins below it."""


class Command(click.Command):
    """A command that shows at once that it is at work, that refuses an option given twice where it
    takes one value (click would take the last one and drop the others in silence), and whose help
    lists options under headings and ends in an example."""

    def __init__(self, *args: Any, example: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.example = example

    def invoke(self, ctx: click.Context) -> Any:
        as_json = ctx.params.get("as_json", False)
        with spinner.during("importing", as_json=as_json):
            for option in self.params:
                if isinstance(option, click.Option) and option.hidden and _is_typed(option, ctx):
                    progress(as_json).say(f"note: {option.opts[-1]} has no effect here")
            try:
                return super().invoke(ctx)
            except UsageError as error:
                error.remedy = error.remedy or f"{ctx.command_path} --help"
                raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in Heading}
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        for option in options:
            if (record := option.get_help_record(ctx)) is not None:
                sections[getattr(option, "group", Heading.OTHER)].append(record)
        records = [record for section in sections.values() for record in section]
        if len(records) <= _FEW:
            sections = {"Options": records}
        for heading, section in sections.items():
            if section:
                with formatter.section(heading):
                    formatter.write_dl(section, col_max=_WIDEST)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return self._parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise synonyms.option(error, self) from None

    def _parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for option in order:
                if isinstance(option, click.Option) and _is_repeated(option, order):
                    raise click.BadOptionUsage(
                        option.opts[-1], f"'{option.opts[-1]}' was given twice", ctx=ctx
                    )
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def command(*, example: str) -> Callable[[Callable[..., None]], Command]:
    """The decorator for a command of `zooadapt`. example: a command line to type."""
    return click.command(cls=Command, example=example)


_EITHER = {"--label-column", "--label-columns"}
"""Options of which a command takes one."""


def amended(arguments: Sequence[str], options: Sequence[str]) -> str:
    """The command line with these arguments and, in place of what it says of them, these options:
    name, value, name, value."""
    remaining, names = [], {*options[::2]}
    if names & _EITHER:
        names |= _EITHER
    rest = iter(arguments)
    for argument in rest:
        if argument in names:
            next(rest, None)
        elif argument.partition("=")[0] not in names:
            remaining.append(argument)
    return shlex.join(["zooadapt", *remaining, *options])


def _is_typed(option: click.Option, ctx: click.Context) -> bool:
    return ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE


def _is_repeated(option: click.Option, order: list[click.Parameter]) -> bool:
    single = not (option.is_flag or option.multiple or option.count)
    return single and sum(other is option for other in order) > 1
