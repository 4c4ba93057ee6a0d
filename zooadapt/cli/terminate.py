"""The end of a process whose C++ parts run out of memory where no Python can catch it: one line and
exit code 71 in the place of a dump."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

from zooadapt.errors import ResourceError

MESSAGE = "out of memory"
REMEDY = "give a smaller --batch-size or --input-size, or the process more memory"
_OUT_OF_MEMORY = b"St9bad_alloc"
_kept: list[Any] = []
"""What C++ calls has to live as long as the process."""


def prepare(*, as_json: bool) -> None:
    """Have C++ call us before it ends the process; without effect where its library has another
    name. Every other exception ends as it did."""
    if _kept:
        return
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        current = library.__cxa_current_exception_type
        set_handler = library._ZSt13set_terminatePFvvE
    except (OSError, AttributeError):
        return
    current.restype = set_handler.restype = ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None)
    set_handler.argtypes = [kind]
    # Made now: there may be no memory for them then.
    line = f"error: {MESSAGE}. Try: {REMEDY}\n".encode()
    facts = {"code": 71, "kind": ResourceError.__name__, "thing": "memory", "remedy": REMEDY}
    result = (json.dumps(facts) + "\n").encode() if as_json else b""

    def ended() -> None:
        exception = current()
        name = b""
        if exception:  # a std::type_info: a table of functions, then the type's name
            place = ctypes.c_void_p.from_address(exception + ctypes.sizeof(ctypes.c_void_p))
            name = ctypes.string_at(place.value, len(_OUT_OF_MEMORY))
        if name == _OUT_OF_MEMORY:
            os.write(2, line)
            if result:
                os.write(1, result)
            os._exit(ResourceError.code)
        before()

    handler = kind(ended)
    before = kind(set_handler(handler))
    _kept.extend([handler, before])
