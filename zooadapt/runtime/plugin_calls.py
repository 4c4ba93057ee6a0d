"""Calls into a plugin: each gives what its interface promises, or raises a PluginError that names
the plugin."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from zooadapt.errors import PluginError, ZooadaptError, out_of_memory

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The plugin that an error names: the family's name, its distribution and version."""

    name: str
    distribution: str
    version: str

    def failed(self, where: str, why: str) -> PluginError:
        return PluginError(
            f"plugin '{self.name}' of {self.distribution} {self.version} failed in {where}: {why}",
            thing=self.name,
            remedy=f"update {self.distribution}, or report it; "
            f"zooadapt plugins check {self.name} shows details",
        )


def contained(owner: Owner, where: str, call: Callable[[], T], *, kind: Any = object) -> T:
    """The result of a call into a plugin, an instance of `kind`.

    What the plugin prints goes to stderr. Raises: the plugin's own ZooadaptErrors, errors of too
    little memory, and PluginError for anything else, an exit or interrupt of its own included.
    """
    printed = io.StringIO()
    try:
        with blaming(owner, where), contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except KeyboardInterrupt as error:
        raise owner.failed(where, _reason(error)) from error
    if text := printed.getvalue():
        print(f"plugin '{owner.name}' printed in {where}: {text.strip()[:200]}", file=sys.stderr)
    if not isinstance(result, kind):
        expected = getattr(kind, "__name__", kind)
        raise owner.failed(where, f"it returned a {type(result).__name__}, not a {expected}")
    return result


@contextlib.contextmanager
def blaming(owner: Owner, where: str) -> Iterator[None]:
    """Wraps a call into a plugin, in any thread: raises its errors and exits as PluginErrors that
    name it. Raises: as `contained`, and interrupts unchanged."""
    try:
        yield
    except ZooadaptError:
        raise
    except (Exception, SystemExit) as error:
        if out_of_memory(error):
            raise
        raise owner.failed(where, _reason(error)) from error


def _reason(error: BaseException) -> str:
    message = str(error).strip() or "no message"
    return f"{type(error).__name__}: {message.splitlines()[0]}"
