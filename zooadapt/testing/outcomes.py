"""Failures and skips of checks, and the failure that a later error repeats."""

from __future__ import annotations

import re
from unittest import SkipTest


class Broken(AssertionError):
    """A clause of the contract that does not hold: declared, actual, and the remedy."""

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
    """A check that does not apply; its reason names the absent capability or thing."""


class Follows(Skip):
    """A check without a result, because what it needs failed in the check `first`."""

    def __init__(self, first: str) -> None:
        super().__init__(f"follows from {first}")
        self.first = first


class Faults:
    """The failures in the checks of one case so far."""

    def __init__(self) -> None:
        self._first: dict[tuple[type, str], str] = {}
        self._foundation = ""

    def first(self, check: str, error: Exception, *, founding: bool) -> str:
        """The check whose failure this error of `check` repeats: one with an equal error, or a
        failed foundation. Empty for a new failure; a clause that was tested and does not hold is
        always new."""
        cause = (error.__cause__ or error.__context__) if isinstance(error, Broken) else error
        first = ""
        if cause is not None:
            alike = (type(cause), re.sub(r"\d+", "0", str(cause)))  # numbers of samples differ
            first = self._first.setdefault(alike, check)
            first = self._foundation or (first if first != check else "")
        if founding and not first:
            self._foundation = check
        return first if first != check else ""
