"""Folders that may go when nobody uses them: held by who does, removed by who needs the room.

A hold dies with its process. Other hosts may not see it, nor does anybody where the file system
knows no locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import weakref
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor

from zooadapt import fsops


class Hold:
    """A folder that `remove_unheld` leaves alone for as long as this object lives."""

    def __init__(self, fd: int) -> None:
        weakref.finalize(self, os.close, fd)


def hold(folder: Path, *, make: bool = False) -> Hold | None:
    """Hold a folder, beside whoever does already; None where there is none to be read. With `make`
    it is made first.

    Raises: OutputError when the folder is to be made and cannot be made or written to.
    """
    while True:
        if make:
            with fsops.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            fd = os.open(folder, os.O_RDONLY)
        except OSError:
            if make and not folder.exists():
                continue
            return None
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH)
        if os.fstat(fd).st_nlink and folder.exists():
            return Hold(fd)
        os.close(fd)  # it was removed, and may be there anew


def remove_unheld(folder: Path) -> bool:
    """Remove a folder with all that is in it, unless somebody holds it; whether it is gone."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            free = True
            with suppress(OSError):  # without locks nobody can hold it
                free = lock_descriptor(fd, blocking=False)
            if free:
                shutil.rmtree(folder)
        finally:
            os.close(fd)
    return not os.path.lexists(folder)
