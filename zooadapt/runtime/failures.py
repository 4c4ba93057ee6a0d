"""Failures of the machine as typed errors: too little memory, a file that cannot be read or
written."""

from __future__ import annotations

from zooadapt.errors import FileError, ResourceError, ZooadaptError, out_of_memory
from zooadapt.runtime import memory

OUT_OF_MEMORY = "out of memory"
LESS = "give a smaller --batch-size or --input-size, or the process more memory"


def expected(error: Exception) -> ZooadaptError | None:
    """The typed error for an exception; None where the exception is a bug."""
    if isinstance(error, ZooadaptError):
        return error
    if out_of_memory(error):
        if isinstance(error, ImportError) or "thread" in str(error):
            message = f"{OUT_OF_MEMORY}: {error}"
            return ResourceError(message, thing="memory", remedy=memory.MORE)
        return ResourceError(OUT_OF_MEMORY, thing="memory", remedy=LESS)
    if isinstance(error, OSError):
        thing = str(error.filename or "output")
        return FileError(
            f"cannot read or write '{thing}': {error.strerror or error}",
            thing=thing,
            remedy="check the disk and its permissions",
        )
    return None
