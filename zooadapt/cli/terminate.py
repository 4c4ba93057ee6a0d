"""C++ code that runs out of memory where Python cannot catch it: the process ends with one line and
exit code 71, not with a core dump."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

from zooadapt.errors import ResourceError
from zooadapt.runtime.failures import LESS, OUT_OF_MEMORY

_BAD_ALLOC = b"St9bad_alloc"
_handlers: list[Any] = []
"""C++ calls them, so they have to live as long as the process."""


def prepare(*, as_json: bool) -> None:
    """Install a handler for `std::terminate`; without effect if the C++ library has another name.
    Other exceptions end the process as before."""
    if _handlers:
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
    # Made now: the handler may have no memory for them.
    line = f"error: {OUT_OF_MEMORY}. Try: {LESS}\n".encode()
    facts = {"code": 71, "kind": ResourceError.__name__, "thing": "memory", "remedy": LESS}
    result = (json.dumps(facts) + "\n").encode() if as_json else b""

    def terminate() -> None:
        exception = current()
        name = b""
        if exception:  # a std::type_info: a table of functions, then a pointer to the type's name
            place = ctypes.c_void_p.from_address(exception + ctypes.sizeof(ctypes.c_void_p))
            name = ctypes.string_at(place.value, len(_BAD_ALLOC)) if place.value else b""
        if name == _BAD_ALLOC:
            os.write(2, line)
            if result:
                os.write(1, result)
            os._exit(ResourceError.code)
        previous()

    handler = kind(terminate)
    previous = kind(set_handler(handler))
    _handlers.extend([handler, previous])
