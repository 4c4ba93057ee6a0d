"""The standard streams as a run needs them: open, able to print every name, and no reason to fail
once what the run is for is done."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress


class Lossy(io.FileIO):
    """A file that loses what it cannot write."""

    fault: OSError | None = None
    """Why something was lost, where the file still has a reader."""

    def write(self, data: bytes) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.fault = error
            return len(data)


_stdout: Lossy | None = None


def prepare() -> None:
    """Give streams that the caller closed a place (else the next file that is opened takes theirs),
    spell out what their encodings lack, and let nothing that stderr cannot take end a run."""
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
    """From here on lose what stdout cannot take: what the run is for is done and stands."""
    global _stdout
    _stdout = _make_lossy("stdout")


def lost() -> str:
    """Why stdout lost something since `forgive`, empty where it did not or nobody reads it."""
    fault = _stdout.fault if _stdout else None
    return fault.strerror or str(fault) if fault else ""


def _make_lossy(name: str) -> Lossy | None:
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper):  # a program's own
        return None
    with suppress(OSError):
        stream.flush()
    try:
        number = stream.fileno()
    except OSError:  # one that is kept in memory
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
