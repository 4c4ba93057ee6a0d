"""Expected failures as typed errors. Only the command line catches and prints them.

Scripts can rely on the exit code of each kind:

    ZooadaptError             1
    ├── UsageError            2
    ├── DataError            65
    ├── NotFoundError        66
    ├── UnavailableError     69
    ├── PluginError          70
    ├── ResourceError        71
    ├── OutputError          73
    ├── FileError            74
    ├── TryAgainError        75
    └── AccessError          77

A message says what failed, which thing and why; `remedy` says what to do next.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import ClassVar


class ZooadaptError(Exception):
    """An expected failure, shown to the user as one line. A line break in a name is escaped.

    `thing` is the file, name or option at fault, for `--json`; `remedy` is the next step to try.
    `options` and their values correct the command, which the command line spells in full.

    >>> try:
    ...     zooadapt.load("./nowhere")
    ... except zooadapt.ZooadaptError as error:
    ...     print(error.thing, "-", error.remedy)
    ./nowhere - give a folder that exists, or ORG/NAME
    """

    code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, thing: str = "", remedy: str = "", options: Sequence[str] = ()
    ) -> None:
        super().__init__(message.replace("\n", "\\n"))
        self.thing = thing
        self.remedy = remedy
        self.options = tuple(options)


class UsageError(ZooadaptError):
    """Options that contradict each other, or a value out of range."""

    code = 2


class DataError(ZooadaptError):
    """A data set, model file or configuration that exists and is unusable."""

    code = 65


class NotFoundError(ZooadaptError):
    """An input that does not exist."""

    code = 66


class UnavailableError(ZooadaptError):
    """A service that cannot be reached, or may not be reached while offline."""

    code = 69


class PluginError(ZooadaptError):
    """A plugin that broke its contract."""

    code = 70


class ResourceError(ZooadaptError):
    """Too little memory, disk or processes for the run."""

    code = 71


class OutputError(ZooadaptError):
    """An output that cannot be created or must not be replaced."""

    code = 73


class FileError(ZooadaptError):
    """The operating system failed a read or write."""

    code = 74


class TryAgainError(ZooadaptError):
    """Another process or person interfered; the same command may succeed later."""

    code = 75


class AccessError(ZooadaptError):
    """Access denied, on disk or on the Hub."""

    code = 77


_SHORTAGE = re.compile(
    "out of memory|DefaultCPUAllocator|bad_alloc|cannot allocate memory|failed to map segment"
    # oneDNN says "primitive descriptor" where the processor lacks an operation.
    "|could not create a primitive(?! descriptor)|can't start new thread",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, or threads, each of which takes memory. Torch
    raises a RuntimeError and a library that does not fit an ImportError: the message decides, since
    torch may not be imported."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or bool(_SHORTAGE.search(str(error)))
    if isinstance(error, (RuntimeError, ImportError)):
        return bool(_SHORTAGE.search(str(error)))
    return isinstance(error, MemoryError)
