"""What the process is told before torch is imported: threads that do not spin, memory that is kept.

Set for the command line only; a program that imports zooadapt decides for itself.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""glibc's `M_TRIM_THRESHOLD` and `M_MMAP_MAX`, from malloc.h."""


def prepare() -> str:
    """Settings that make the same work cost less; without effect where they do not apply. What the
    user should know of them, usually nothing."""
    # How long a thread spins at a barrier. The default, much longer, takes the core from
    # other programs and other thread pools: a head took six times as long to solve. Not to spin at
    # all makes an LSTM's many small steps take half as long again. Read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _keep_memory()
    return _give_home()


def _give_home() -> str:
    """A private folder as home for a user who has none, as many containers' users do: libraries
    would make a folder called `~` or fail."""
    if os.path.expanduser("~") != "~":
        return ""
    import tempfile

    home = os.path.join(tempfile.gettempdir(), f"zooadapt-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(home, 0o700)
    there = os.lstat(home)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        home = tempfile.mkdtemp(prefix="zooadapt-")
    os.environ["HOME"] = home
    if {"ZOOADAPT_CACHE", "HF_HOME"} <= set(os.environ):
        return ""
    return (
        f"this user has no home folder, so '{home}' holds what is fetched and stored; set HOME, or "
        "ZOOADAPT_CACHE and HF_HOME, for another place"
    )


def _keep_memory() -> None:
    """Have malloc keep freed blocks instead of giving them back to the system.

    A step frees and takes the same hundreds of megabytes again, and the system clears each page
    anew: nearly half the CPU time of a training step of mobilenetv2_100.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
