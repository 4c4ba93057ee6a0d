"""A clause of the contract as a check: when it fails, does not apply, or follows from another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import NoReturn, TypeVar
from unittest import SkipTest

from zooadapt.errors import ZooadaptError
from zooadapt.testing.case import Case
from zooadapt.testing.outcomes import Broken, Follows, Skip

Check = Callable[[Case], None]
T = TypeVar("T")


def _checked(check: Check, *, founding: bool) -> Check:
    """Make a function a check. A failure shows its docstring, the clause; an expected error
    (ZooadaptError) is a failure too.

    Raises: Broken with that clause, or Follows, from the returned function.
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
                remedy = error.remedy or "correct what the error names"
                broken = Broken(declared="no error", actual=error, remedy=remedy)
            if isinstance(broken, Broken):
                broken.clause = words
            if broken is error:
                raise
            raise broken from error

    return checked


clause = partial(_checked, founding=False)
"""A clause on which no other builds."""
foundation = partial(_checked, founding=True)
"""A clause on which all later checks build: after its failure their errors say nothing new."""


def need(subject: T | None, name: str) -> T:
    """The subject of a check. Raises: Skip when it is absent or false; `name` is the reason."""
    if not subject:
        raise Skip(name)
    return subject


def refuse(*, declared: object, actual: object, remedy: str) -> NoReturn:
    """Raises: Broken, for a clause that does not hold."""
    raise Broken(declared=declared, actual=actual, remedy=remedy)


def require(holds: bool, *, declared: object, actual: object, remedy: str) -> None:
    """`refuse` unless the clause holds."""
    if not holds:
        refuse(declared=declared, actual=actual, remedy=remedy)
