"""Locks that end with their process: an exclusive one of a file, a shared one of a folder.

Where the file system has no locks (some network disks), a lease replaces a file's lock: a file that
names its owner, who renews it. A folder then counts as locked for an hour after its last change.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from zooadapt.errors import TryAgainError
from zooadapt.runtime import filesystem

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EIO, errno.ENOTSUP, errno.EOPNOTSUPP}
_LEASE = 60.0
"""Seconds after its last renewal at which the lease of another host's process expires."""


@contextmanager
def lock(path: Path, *, what: str, wait: float = 0.0) -> Iterator[str]:
    """Hold an exclusive lock, which ends with this process; wait for it at most `wait` seconds.
    Yields a note where a lease replaces it, else an empty text.

    Raises: TryAgainError naming the process that holds it; OutputError or FileError when the
    lock's file cannot be created.
    """
    note, lease = "", path.with_name(f"{path.name}.lease")
    with filesystem.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            holder = _acquired(FileLock(path, fallback_to_soft=False), path, what, wait)
            path.write_text(str(os.getpid()))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            # A disk that fails for another reason fails here again.
            holder = _acquired(SoftFileLease(lease, lease_duration=_LEASE), lease, what, wait)
            note = (
                f"the file system of '{path.parent}' has no locks ({error.strerror}): a lease file "
                f"holds {what} instead"
            )
    try:
        yield note
    finally:
        with suppress(OSError):
            path.unlink()  # before its release: a process that waits for this file takes a new one
        holder.release()


def _acquired(holder: BaseFileLock, path: Path, what: str, wait: float) -> BaseFileLock:
    try:
        holder.acquire(timeout=wait)
    except Timeout:
        owner = ""
        with suppress(OSError):  # the owner may have ended since
            # A lock's file holds the number alone, a lease's file one fact a line.
            line = re.search(r"^(?:pid=)?(\d+)$", path.read_text(errors="replace"), re.MULTILINE)
            owner = line[1] if line else ""
        raise TryAgainError(
            f"{what} is in use by process {owner or '(unknown)'}",
            thing=what,
            remedy="wait for it to end and run the command again",
        ) from None
    return holder


class SharedLock:
    """A folder's lock, released with this object; `remove_unlocked` leaves the folder alone."""

    def __init__(self, fd: int) -> None:
        weakref.finalize(self, os.close, fd)


def lock_shared(folder: Path, *, make: bool = False) -> SharedLock | None:
    """Take a folder's lock, which processes share; None for a folder that cannot be read. With
    `make` it is made first.

    Raises: OutputError when a folder to make cannot be made or written to.
    """
    while True:
        if make:
            with filesystem.writing(folder):
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
            return SharedLock(fd)
        os.close(fd)  # another process removed the folder and may have made it anew


def remove_unlocked(folder: Path) -> bool:
    """Remove a folder with all that is in it, unless a process has its lock; whether it is gone."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            if filesystem.is_free(fd):
                shutil.rmtree(folder)
        finally:
            os.close(fd)
    return not os.path.lexists(folder)
