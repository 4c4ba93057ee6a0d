"""How a check ends other than well, and what it follows from."""

from __future__ import annotations

import re
from unittest import SkipTest


class Broken(AssertionError):
    """A clause of the contract that does not hold: what was declared, what is, what to do."""

    def __init__(self, *, declared: object, actual: object, remedy: str) -> None:
        super().__init__()
        self.clause = ""
        self.declared, self.actual, self.remedy = str(declared), str(actual), remedy

    def __str__(self) -> str:
        return (
            f"{self.clause}\n  declared: {self.declared}\n  actual:   {self.actual}\n"
            f"  do:       {self.remedy}"
        )


class Skip(SkipTest):
    """A check that does not apply, by the name of the capability or thing that is not there."""


class Follows(Skip):
    """A check that says nothing, because what it needs has failed in the check `first`."""

    def __init__(self, first: str) -> None:
        super().__init__(f"follows from {first}")
        self.first = first


class Faults:
    """What has failed in the checks of one case so far."""

    def __init__(self) -> None:
        self._first: dict[tuple[type, str], str] = {}
        self._foundation = ""

    def first(self, check: str, error: Exception, *, founding: bool) -> str:
        """The check whose failure this error of `check` follows from: the one that failed by an
        equal error, or by a clause that all others build upon; empty where it is a new one. A
        clause that was looked at and does not hold is always a new one."""
        cause = (error.__cause__ or error.__context__) if isinstance(error, Broken) else error
        first = ""
        if cause is not None:
            alike = (type(cause), re.sub(r"\d+", "0", str(cause)))  # numbers of samples differ
            first = self._first.setdefault(alike, check)
            first = self._foundation or (first if first != check else "")
        if founding and not first:
            self._foundation = check
        return first if first != check else ""
