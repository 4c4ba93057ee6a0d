"""How much memory a process may have: what the machine holds, and what limits leave of it."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path

from zooadapt.errors import ResourceError

MORE = "give the process more memory (`ulimit -v`, or the container's limit)"
_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""The limit of a container, as it sees it itself."""


def ceiling() -> tuple[float, str]:
    """The most bytes that this process can hold in memory, and what sets that limit: the machine,
    the container, or the limit on addresses (`ulimit -v`), of which libraries take more than they
    hold. Infinite where nothing says."""
    limits = [(float("inf"), "")]
    with suppress(OSError, ValueError):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        limits.append((pages * size + _swap(), "the memory of this machine"))
    for path in _CGROUPS:
        with suppress(OSError, ValueError):  # ValueError: it says "max"
            limits.append((float(path.read_text()), "the container's memory limit"))
    with suppress(OSError, ValueError, ImportError):
        import resource

        addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
        if addresses != resource.RLIM_INFINITY:
            total, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
            mapped = (total - resident) * os.sysconf("SC_PAGE_SIZE")
            limits.append((max(0, addresses - mapped), "ulimit -v"))
    return min(limits)


def check(needed: int) -> None:
    """See before the work that a process of so many bytes can be.

    Raises: ResourceError where it cannot.
    """
    most, limit = ceiling()
    if needed > most:
        raise ResourceError(
            f"this run needs about {needed / 1e9:,.1f} GB of memory, and {limit} leaves it "
            f"{most / 1e9:,.1f} GB",
            thing="memory",
            remedy="give a smaller --batch-size or --input-size, or --strategy probe",
        )


def check_libraries() -> None:
    """See before torch is imported that there is room for it: where there is hardly any, threads
    that cannot start are waited for in vain.

    Raises: ResourceError where a limit on addresses leaves less than its largest libraries take.
    """
    found = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).with_name("lib")
    files = [folder / f"libtorch_{part}.so" for part in ("cpu", "cuda", "python")]
    needed = sum(path.stat().st_size for path in files if path.exists())
    most, limit = ceiling()
    if needed > most:
        raise ResourceError(
            f"torch takes {needed / 1e9:,.1f} GB of addresses, and {limit} leaves it "
            f"{most / 1e9:,.1f} GB",
            thing="memory",
            remedy=MORE,
        )


def _swap() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("SwapTotal:"):
            return 1024 * int(line.split()[1])
    return 0
