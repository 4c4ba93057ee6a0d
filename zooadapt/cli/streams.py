"""The standard streams: open, able to print every name, and no cause of failure once the work of a
command is done."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Lossy(io.FileIO):
    """A file that drops what it cannot write."""

    fault: OSError | None = None
    """Why something was dropped, other than for lack of a reader."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.fault = error
            return memoryview(data).nbytes


_stdout: Lossy | None = None


def prepare() -> None:
    """Reopen streams that the caller closed (else the next file to be opened takes their place),
    escape characters that their encodings lack, and let no failure of stderr end a run."""
    global _stdout
    _stdout = None
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    _make_lossy("stderr")


def forgive() -> None:
    """From now on drop what stdout cannot take: the work is done."""
    global _stdout
    _stdout = _make_lossy("stdout")


def lost() -> str:
    """Why stdout dropped something since `forgive`; empty if it did not, or has no reader."""
    fault = _stdout.fault if _stdout else None
    return fault.strerror or str(fault) if fault else ""


def _make_lossy(name: str) -> Lossy | None:
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper):  # a stream of the calling program
        return None
    with suppress(OSError):
        stream.flush()
    try:
        number = stream.fileno()
    except OSError:  # a stream in memory
        return None
    file = Lossy(number, "w", closefd=False)
    wrapped = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, wrapped)
    return file
