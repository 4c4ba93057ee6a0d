"""What can go wrong, as a few typed errors. Only the command line catches and prints them.

Each kind has the exit code that scripts can rely on; the message says what, which thing and why,
`remedy` says what to do next.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import ClassVar


class ZooadaptError(Exception):
    """An expected failure, shown to the user as one line and never as a traceback; a line break in
    a name from the data is spelled out.

    `thing` is the file, name or option at fault, for `--json`; `remedy` is the next step to try.
    `options` and their values would put it right: the command line spells the whole command.

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
    """Options that contradict each other, or a value that cannot be meant."""

    code = 2


class DataError(ZooadaptError):
    """A data set, model file or configuration that is there but not usable."""

    code = 65


class NotFoundError(ZooadaptError):
    """An input that is not there."""

    code = 66


class UnavailableError(ZooadaptError):
    """A service that cannot be reached, or must not be while offline."""

    code = 69


class PluginError(ZooadaptError):
    """A plugin that broke its contract."""

    code = 70


class ResourceError(ZooadaptError):
    """Not enough memory, disk or processes for the work asked for."""

    code = 71


class OutputError(ZooadaptError):
    """An output that cannot be created or must not be replaced."""

    code = 73


class FileError(ZooadaptError):
    """The operating system failed a read or write."""

    code = 74


class TryAgainError(ZooadaptError):
    """Somebody else got in between; the same command may succeed later."""

    code = 75


class AccessError(ZooadaptError):
    """Access denied, on disk or on the Hub."""

    code = 77


_SHORTAGE = re.compile(
    "out of memory|DefaultCPUAllocator|bad_alloc|cannot allocate memory|failed to map segment"
    # oneDNN, whose "primitive descriptor" is what a processor cannot do.
    "|could not create a primitive(?! descriptor)|can't start new thread",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, or threads, each of which takes some. Torch's
    are RuntimeErrors, those of libraries that find no room ImportErrors, told by what they say,
    since torch may not be imported."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or bool(_SHORTAGE.search(str(error)))
    if isinstance(error, (RuntimeError, ImportError)):
        return bool(_SHORTAGE.search(str(error)))
    return isinstance(error, MemoryError)
