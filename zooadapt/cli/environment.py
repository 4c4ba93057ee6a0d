"""Settings of the process that must precede the import of torch: threads that spin briefly, memory
that is not returned to the system. The command line makes them; a program that imports zooadapt
decides for itself."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""glibc's `M_TRIM_THRESHOLD` and `M_MMAP_MAX`, from malloc.h."""


def prepare() -> str:
    """Make the settings, where they apply. Returns a note for the user, usually empty."""
    # How long a thread spins at a barrier. The default, much longer, takes the core from
    # other programs and other thread pools: a head took six times as long to fit. Without any
    # spinning, an LSTM's many small steps take half as long again. Read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _retain_memory()
    return _set_home()


def _set_home() -> str:
    """Give a user without a home folder, as in many containers, a private one; libraries would make
    a folder called `~` or fail. Returns a note."""
    if os.path.expanduser("~") != "~":
        return ""
    import tempfile

    home = os.path.join(tempfile.gettempdir(), f"zooadapt-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(home, 0o700)
    status = os.lstat(home)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        home = tempfile.mkdtemp(prefix="zooadapt-")
    os.environ["HOME"] = home
    if {"ZOOADAPT_CACHE", "HF_HOME"} <= set(os.environ):
        return ""
    return (
        f"this user has no home folder, so downloads and the cache are in '{home}'; set HOME, or "
        "ZOOADAPT_CACHE and HF_HOME, to choose another folder"
    )


def _retain_memory() -> None:
    """Have malloc reuse freed blocks instead of returning them to the system.

    A training step frees and allocates the same hundreds of megabytes, and the system clears each
    page anew: nearly half the CPU time of a step of mobilenetv2_100.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
