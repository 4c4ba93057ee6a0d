"""A clause of the contract as a check: how it fails, whether it applies, what it follows from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, NoReturn
from unittest import SkipTest

from zooadapt.errors import ZooadaptError

if TYPE_CHECKING:
    from zooadapt.testing.case import Case


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


Check = Callable[["Case"], None]


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


def _checked(check: Check, *, founding: bool) -> Check:
    """Make a function a check: its docstring is the clause that a failure shows. Errors that users
    would see are failures too.

    Raises: from the function made, Broken with that clause, or Follows.
    """
    words = " ".join((inspect.getdoc(check) or "").split())

    @wraps(check)
    def checked(case: Case) -> None:
        try:
            check(case)
        except SkipTest:
            raise
        except Exception as error:
            if first := case.faults.first(check.__name__, error, founding=founding):
                raise Follows(first) from error
            broken = error
            if isinstance(error, ZooadaptError):
                remedy = error.remedy or "read what it says"
                broken = Broken(declared="no error", actual=error, remedy=remedy)
            if isinstance(broken, Broken):
                broken.clause = words
            if broken is error:
                raise
            raise broken from error

    return checked


clause = partial(_checked, founding=False)
"""A clause by itself."""
foundation = partial(_checked, founding=True)
"""A clause that all checks after it build upon: an error in those says no more than its failure."""


def need(there: object, what: str) -> None:
    """Raises: Skip when what a check is about is not there."""
    if not there:
        raise Skip(what)


def refuse(*, declared: object, actual: object, remedy: str) -> NoReturn:
    """Raises: Broken, for a clause that does not hold."""
    raise Broken(declared=declared, actual=actual, remedy=remedy)


def require(holds: bool, *, declared: object, actual: object, remedy: str) -> None:
    """`refuse` unless the clause holds."""
    if not holds:
        refuse(declared=declared, actual=actual, remedy=remedy)
