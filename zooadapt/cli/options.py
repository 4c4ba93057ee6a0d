"""Options of the command line, made from the fields of dataclasses that state them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from zooadapt.data.options import ReadOptions
from zooadapt.runtime import options
from zooadapt.runtime.options import Group

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_TYPES: dict[type, Any] = {
    bool: click.BOOL,
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    Path: click.Path(path_type=Path),
}
_METAVARS = {int: "N", float: "X", str: "NAME", Path: "PATH"}


class Option(click.Option):
    """An option that knows its heading in help, its default in words, and the values it takes."""

    def __init__(
        self,
        param_decls: Sequence[str],
        *,
        group: Group = Group.OTHER,
        shown_default: str = "",
        values: str = "",
        **attributes: Any,
    ) -> None:
        super().__init__(param_decls, **attributes)
        self.group, self.shown_default, self.values = group, shown_default, values

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or not self.shown_default:
            return record
        return record[0], f"{record[1]}  [default: {self.shown_default}]"


def parsed(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, Any], T | None]:
    """The callback of an option that people write as text, such as `10m`. parse: raises ValueError
    whose message goes on from the value."""

    def convert(ctx: click.Context, param: click.Parameter, value: Any) -> T | None:
        try:
            return None if value is None else parse(str(value))
        except ValueError as error:
            raise click.BadParameter(f"{value!r} {error}", ctx=ctx, param=param) from error

    return convert


def option(
    *declarations: str,
    help: str,
    group: Group = Group.OTHER,
    shown_default: str = "",
    **attributes: Any,
) -> Callable[[F], F]:
    """The decorator for an option that a command has for itself; `attributes` are click's."""
    return click.option(
        *declarations, cls=Option, help=help, group=group, shown_default=shown_default, **attributes
    )


def options_of(
    kind: type, *names: str, without: Collection[str] = (), idle: Collection[str] = ()
) -> Callable[[F], F]:
    """The decorator for the options that a dataclass states: those of these names, or all. The
    command takes them as keywords. idle: those that do nothing here; help does not list them."""

    def decorate(command: F) -> F:
        for name, one in reversed([*options.options_of(kind).items()]):
            if name not in without and (not names or name in names):
                command = _declared(one, hidden=name in idle)(command)
        return command

    return decorate


def _declared(one: options.Option, *, hidden: bool) -> Callable[[F], F]:
    values = ", ".join(one.choices) or str(one.range or "").removeprefix("a number ")
    attributes: dict[str, Any] = {"default": one.default, "hidden": hidden, "values": values}
    name = one.flag
    if one.kind is bool:
        name += f"/--no-{name.removeprefix('--')}" if one.default else ""
        attributes["is_flag"] = True
    elif one.choices:
        attributes["type"] = click.Choice(one.choices)
    else:
        attributes["type"] = click.STRING if one.parse else _TYPES[one.kind]
        attributes["callback"] = parsed(one.parse) if one.parse else None
        attributes["metavar"] = one.metavar or _METAVARS[one.kind]
    return option(
        name, help=one.help, group=one.group, shown_default=one.shown_default, **attributes
    )


as_json = option(
    "--json", "as_json", is_flag=True, help="Print one JSON object to stdout.", group=Group.OUTPUT
)


def out(help: str, *, metavar: str = "FOLDER", **attributes: Any) -> Callable[[F], F]:
    """`-o`, `--out`."""
    kind = click.Path(path_type=Path)
    return option(
        "-o", "--out", type=kind, metavar=metavar, help=help, group=Group.OUTPUT, **attributes
    )


def read_options(values: dict[str, Any]) -> ReadOptions:
    """The reading options taken out of a command's options."""
    names = [name for name in options.options_of(ReadOptions) if name in values]
    return ReadOptions(**{name: values.pop(name) for name in names})
