"""An option, stated once: a field of a frozen dataclass carries its default, its meaning, its group
and the values that it takes. The command line, the checks, Python's parameters and the page of
options are made from these fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType, NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from zooadapt.errors import UsageError
from zooadapt.runtime.ranges import Range

T = TypeVar("T")


class Group(StrEnum):
    """The headings of a command's help, from the top down."""

    DATA = "Data"
    STRATEGY = "Strategy and budget"
    OUTPUT = "Output"
    FINE_TUNING = "Fine-tuning"
    REGULARISATION = "Regularisation"
    HEAD = "Head and model selection"
    LABELS = "Label errors"
    INPUTS = "Network input"
    READING = "Reading the data"
    COMPUTE = "Compute and reproducibility"
    OTHER = "Other"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option. `options_of` adds what the field itself says: name, kind and default."""

    help: str
    group: Group
    by_default: str
    """The default in words, where the field's value does not say it."""
    range: Range | None
    choices: tuple[str, ...]
    parse: Callable[[str], Any] | None
    """Reads a value that people write as text, such as a time; raises ValueError."""
    metavar: str
    name: str = ""
    annotation: str = ""
    kind: type = str
    """The type of a value that is not None."""
    default: Any = None

    @property
    def flag(self) -> str:
        """How the command line writes it."""
        return flag(self.name)

    @property
    def shown_default(self) -> str:
        """The default as help shows it; empty for a flag that is off."""
        if self.by_default or self.default is None or self.default is False:
            return self.by_default
        if self.default is True:
            return self.flag
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def check(self, value: Any) -> None:
        """None is no number and stays.

        Raises: UsageError naming the option whose value cannot be meant.
        """
        if self.range is not None and value is not None and value not in self.range:
            raise UsageError(f"{self.flag} {value} must be {self.range}", thing=self.flag)
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{self.flag} '{value}' must be one of {', '.join(self.choices)}",
                thing=self.flag,
                remedy=f"{self.flag} {self.choices[0]}",
            )


def option(
    default: T,
    help: str,
    group: Group,
    *,
    by_default: str = "",
    range: Range | None = None,
    choices: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
    metavar: str = "",
) -> T:
    """A dataclass' field that is an option; the parameters are those of `Option`."""
    facts = Option(
        help=help,
        group=group,
        by_default=by_default,
        range=range,
        choices=choices,
        parse=parse,
        metavar=metavar,
    )
    return field(default=default, metadata={"option": facts})


def same_as(kind: type, name: str) -> Any:
    """A dataclass' field that is the same option as another dataclass has."""
    (original,) = (one for one in fields(kind) if one.name == name)
    return field(default=original.default, metadata=original.metadata)


def options_of(kind: type) -> Mapping[str, Option]:
    """The options of a dataclass by name, in the order of its fields."""
    types, options = get_type_hints(kind), {}
    for one in fields(kind):
        if (facts := one.metadata.get("option")) is not None:
            kinds = [each for each in get_args(types[one.name]) if each is not NoneType]
            options[one.name] = replace(
                facts,
                name=one.name,
                annotation=str(one.type),
                kind=(kinds or [types[one.name]])[0],
                default=one.default,
            )
    return MappingProxyType(options)


def check(request: Any) -> None:
    """See that every option of a dataclass has a value that can be meant.

    Raises: UsageError naming the option that has not.
    """
    for name, one in options_of(type(request)).items():
        one.check(getattr(request, name))


def flag(name: str) -> str:
    """How the command line writes the option of a field."""
    return "--" + name.replace("_", "-")
