"""A clause of the contract as a check: how it fails, whether it applies, what it follows from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import NoReturn
from unittest import SkipTest

from zooadapt.errors import ZooadaptError
from zooadapt.testing.case import Case
from zooadapt.testing.outcomes import Broken, Follows, Skip

Check = Callable[[Case], None]


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
