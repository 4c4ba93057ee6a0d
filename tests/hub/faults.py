"""Ways for a Hub, or the network before it, to misbehave.

Each makes a `Fault` for the requests whose method and path match `on`, for the first `times`.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress

from .server import Fault, Handler

ALWAYS = 10**9
LARGE = "GET /large/"
ANY = ""


def fault(act: Callable[[Handler], None], *, on: str = ANY, times: int = ALWAYS) -> Fault:
    """A fault that acts in place of the answer."""
    counted = itertools.count(1)

    def maybe(request: Handler) -> bool:
        if not re.match(on, f"{request.command} {request.path}") or next(counted) > times:
            return False
        act(request)
        return True

    return maybe


def also(act: Callable[[Handler], None], *, on: str, times: int = 1) -> Fault:
    """A fault that acts before the ordinary answer."""
    acting = fault(act, on=on, times=times)

    def maybe(request: Handler) -> bool:
        acting(request)
        return False

    return maybe


def status(code: int, body: bytes = b"busy", **headers: str) -> Callable[[Handler], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.reply(code, body, named)


def page(request: Handler) -> None:
    """The log-in page of a hotel's network."""
    request.reply(
        200, b"<!doctype html><title>Please log in</title>", {"Content-Type": "text/html"}
    )


def value(data: object) -> Callable[[Handler], None]:
    return lambda request: request.json(data)


def reset(request: Handler) -> None:
    request.reset()


def stall(request: Handler) -> None:
    time.sleep(4)
    request.hang_up()


def answered(change: Callable[[bytes], bytes]) -> Callable[[Handler], None]:
    """The ordinary answer with changed bytes."""

    def act(request: Handler) -> None:
        recorder = _Recorder()
        request.wfile, wire = recorder, request.wfile
        request.answer()
        request.wfile = wire
        wire.write(change(b"".join(recorder.parts)))
        wire.flush()

    return act


def cut(part: float) -> Callable[[Handler], None]:
    """Hang up after that part of the body."""

    def act(request: Handler) -> None:
        answered(lambda raw: raw[: raw.index(b"\r\n\r\n") + 4 + int(part * _body(raw))])(request)
        request.hang_up()

    return act


def reset_after(part: float) -> Callable[[Handler], None]:
    def act(request: Handler) -> None:
        answered(lambda raw: raw[: raw.index(b"\r\n\r\n") + 4 + int(part * _body(raw))])(request)
        time.sleep(0.05)
        request.reset()

    return act


def trickle(request: Handler) -> None:
    """The body a byte at a time."""

    def slowly(raw: bytes) -> bytes:
        head = raw.index(b"\r\n\r\n") + 4
        request.wfile_now.write(raw[:head])
        for byte in raw[head : head + 400]:
            request.wfile_now.write(bytes([byte]))
            request.wfile_now.flush()
            time.sleep(0.02)
        return b""

    request.wfile_now = request.wfile
    answered(slowly)(request)
    request.hang_up()


def trickle_headers(request: Handler) -> None:
    """Headers that never end; every byte arrives before a read times out."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with suppress(OSError):
        for _ in range(40):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.2)
    request.hang_up()


def read_slowly(request: Handler) -> None:
    """Read an upload a little at a time."""
    with suppress(OSError):
        for _ in range(60):
            if not request.rfile.read(100):
                break
            time.sleep(0.2)
    request.hang_up()


def wrong_bytes(request: Handler) -> None:
    """Other bytes, as many as announced."""
    answered(lambda raw: raw[: -_body(raw)] + bytes(_body(raw)))(request)


def shorter(request: Handler) -> None:
    """A complete answer of fewer bytes than the HEAD announced."""

    def change(raw: bytes) -> bytes:
        length = _body(raw)
        return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (length - 8), raw)[:-8]

    answered(change)(request)


def endless(request: Handler) -> None:
    """A body without a length and without an end."""
    request.send_response_only(200)
    request.end_headers()
    try:
        for _ in range(2000):
            request.wfile.write(bytes(100_000))
    except OSError:
        pass
    request.hang_up()


def compressed(request: Handler) -> None:
    """Announces a compressed body."""
    answered(lambda raw: raw.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))(
        request
    )


def without(header: str) -> Callable[[Handler], None]:
    return answered(lambda raw: re.sub(rb"(?i)\r\n" + header.encode() + rb": [^\r]*", b"", raw))


def with_header(header: str, text: str) -> Callable[[Handler], None]:
    line = f"\r\n{header}: {text}".encode()
    return answered(
        lambda raw: re.sub(rb"(?i)\r\n" + header.encode() + rb": [^\r]*", lambda _: line, raw)
    )


def with_info(**fields: object) -> Callable[[Handler], None]:
    """The repository's description with other fields; None removes one."""

    def change(raw: bytes) -> bytes:
        body = json.loads(raw[raw.index(b"\r\n\r\n") + 4 :]) | fields
        text = json.dumps({k: v for k, v in body.items() if v is not None}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text

    return answered(change)


def lose_answer(request: Handler) -> None:
    """Process the request, then hang up in place of an answer."""
    answered(lambda raw: b"")(request)
    request.reset()


class _Recorder:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.parts.append(bytes(data))

    def flush(self) -> None:
        pass


def _body(raw: bytes) -> int:
    return len(raw) - raw.index(b"\r\n\r\n") - 4
