"""How much memory a process may use: the machine's, within the limits set on it."""

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
"""The limit of a container, as its processes see it."""


def ceiling() -> tuple[float, str]:
    """The most bytes that this process can hold in memory, and what limits it: the machine, the
    container, or the limit on addresses (`ulimit -v`), of which the addresses that libraries map
    and do not hold are subtracted. Infinite where no limit is known."""
    limits = [(float("inf"), "")]
    with suppress(OSError, ValueError):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        limits.append((pages * size + _swap(), "the memory of this machine"))
    for path in _CGROUPS:
        with suppress(OSError, ValueError):  # ValueError: the file holds "max"
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
    """Check before the work that a process may hold `needed` bytes.

    Raises: ResourceError when it may not.
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
    """Check before torch is imported that its libraries fit: where they barely do, torch waits
    forever for threads that cannot start.

    Raises: ResourceError where a limit on addresses leaves less than its largest libraries take.
    """
    spec = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).with_name("lib")
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
