"""One HTTP request of huggingface_hub, with a deadline and typed failures.

huggingface_hub's own retries sleep for as long as a server says, and count a trickle of bytes as
progress. Here a temporary failure ends the request at once, and `zooadapt.zoo.hub.client` decides
on a retry.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakSet

from huggingface_hub import constants, get_session, get_token, set_client_factory
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # a lazy re-export

from zooadapt.errors import UnavailableError, UsageError

SLOWEST = 1024
"""Bytes per second; a slower transfer fails after the stall time."""
_ETAG = re.compile(r'(W/)?"?[\w.+=-]+"?')  # it becomes the name of a file in the cache
_COMMIT = re.compile(r"/resolve/([0-9a-f]{40})/")
_TEMPORARY = {408, 429, 500, 502, 503, 504}


class TemporaryFailure(Exception):
    """A failure of a request that may succeed later. huggingface_hub does not catch it."""

    def __init__(self, why: str, *, retry_after: float = 0.0, busy: bool = False) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        self.busy = busy


@contextmanager
def limited(*, largest: int) -> Iterator[None]:
    """Inside the block, deadlines and typed failures apply to every request of huggingface_hub, of
    any thread, and an answer has at most `largest` bytes. Outside, other users of huggingface_hub
    find its own behaviour."""
    if not _Client.hooks:
        _Client.hooks = get_session().event_hooks["request"]
        set_client_factory(_Client)
    _Client.limited, _Client.largest = True, largest
    _Client.end = time.monotonic() + duration("ZOOADAPT_HUB_DEADLINE", 24 * 3600.0)
    try:
        yield
    finally:
        _Client.limited = False


def temporary_failure(error: BaseException) -> TemporaryFailure | None:
    """The temporary failure that an error of huggingface_hub wraps, if any."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TemporaryFailure):
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return TemporaryFailure("fewer bytes arrived than were announced")
    return None


def duration(variable: str, default: float) -> float:
    """Seconds from an environment variable.

    Raises: UsageError unless they are a positive number.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{variable}='{text}' is not a number of seconds", thing=variable)
    return seconds


class _Client(httpx.Client):
    """Sends the requests of huggingface_hub's own client, with deadlines and without retries."""

    limited: ClassVar[bool] = False
    largest: ClassVar[int] = 0
    end: ClassVar[float] = 0.0
    hooks: ClassVar[Sequence[Callable[[httpx.Request], object]]] = ()
    """huggingface_hub's own hooks, run before each request."""

    def __init__(self) -> None:
        super().__init__(
            event_hooks={"request": list(self.hooks), "response": [self._check]},
            follow_redirects=True,
            timeout=None,
        )
        self._stall = duration("ZOOADAPT_HUB_STALL", 30.0)
        self._connections: WeakSet[Any] = WeakSet()

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if not self.limited:
            return super().send(request, **options)
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            step: min(limits.get(step) or self._stall, self._stall)
            for step in ("connect", "read", "write", "pool")
        }
        request.extensions["trace"] = self._watch()
        request.headers["accept-encoding"] = "identity"  # a zip bomb would unpack onto the disk
        _keep_token_home(request)
        try:
            return super().send(request, **options)
        except httpx.TransportError as error:
            message = f"{request.url.host}: {error or type(error).__name__}"
            raise TemporaryFailure(message) from error

    def _watch(self) -> Callable[[str, Any], None]:
        """A callback for the steps of one request. It aborts the request when the answer's headers
        take longer than a stall, since httpx limits the wait for each byte alone."""
        timer: threading.Timer | None = None

        def step(event: str, about: Mapping[str, Any]) -> None:
            nonlocal timer
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._connections.add(about["return_value"])
            elif event.endswith("receive_response_headers.started"):
                timer = threading.Timer(self._stall, self._abort)  # a redirect starts a new one
                timer.daemon = True
                timer.start()
            elif timer is not None and "receive_response_headers." in event:
                timer.cancel()

        return step

    def _abort(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _check(self, response: httpx.Response) -> None:
        if not self.limited:
            return
        status = response.status_code
        if status in _TEMPORARY:
            seconds = response.headers.get("retry-after", "")
            raise TemporaryFailure(
                f"{response.request.url.host} answered {status} {response.reason_phrase}",
                retry_after=float(seconds) if seconds.isdigit() else 0.0,
                busy=status == 429,
            )
        if fault := _implausible(response):
            raise UnavailableError(
                f"what answered is not a Hub: {response.request.url.host} sent {fault}",
                thing=response.request.url.host,
                remedy="check HF_ENDPOINT and the proxy settings",
            )
        assert isinstance(response.stream, httpx.SyncByteStream)  # of a synchronous client
        response.stream = _Limited(response.stream, self._stall, self.largest, self.end)


class _Limited(httpx.SyncByteStream):
    """A body that fails when it is too slow, too long or incomplete."""

    def __init__(self, body: httpx.SyncByteStream, stall: float, largest: int, end: float) -> None:
        self._body, self._stall, self._largest, self._end = body, stall, largest, end

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._body)
        received, recent, waited = 0, 0, 0.0
        while True:
            started = time.monotonic()
            try:
                chunk = next(chunks, None)
            except httpx.TransportError as error:
                if received >= constants.DOWNLOAD_CHUNK_SIZE:
                    # huggingface_hub resumes after its last whole chunk on this exception.
                    raise httpx.RemoteProtocolError(str(error)) from error
                raise TemporaryFailure(f"the transfer broke off: {error}") from error
            if chunk is None:
                return
            waited += time.monotonic() - started
            received, recent = received + len(chunk), recent + len(chunk)
            if received > self._largest:
                raise UnavailableError(
                    f"the Hub sent more than {self._largest:,} bytes, the limit", thing="transfer"
                )
            if time.monotonic() > self._end:
                raise UnavailableError(
                    "the transfer took longer than its deadline",
                    thing="transfer",
                    remedy="try a faster connection; ZOOADAPT_HUB_DEADLINE sets the deadline",
                )
            if waited >= self._stall:
                if recent < SLOWEST * waited:
                    raise UnavailableError(
                        f"the Hub sent {recent} bytes in {waited:.0f} s, too slow to go on",
                        thing="transfer",
                        remedy="try a faster connection; ZOOADAPT_HUB_STALL sets the time",
                    )
                recent, waited = 0, 0.0
            yield chunk

    def close(self) -> None:
        self._body.close()


def _implausible(response: httpx.Response) -> str | None:
    """The part of an answer that no Hub sends and that huggingface_hub would act upon, if any."""
    headers = response.headers
    if headers.get("content-encoding", "identity") != "identity":
        return "a compressed body"
    if not all(_ETAG.fullmatch(headers.get(name, "x")) for name in ("etag", "x-linked-etag")):
        return "a malformed ETag"
    commit = _COMMIT.search(response.request.url.path)
    if commit and headers.get("x-repo-commit", commit[1]) != commit[1]:
        return "a file of another commit"
    return None


def _keep_token_home(request: httpx.Request) -> None:
    """Send the user's token to the Hub's own host alone, and over a network only encrypted."""
    token, host = get_token(), request.url.host
    if token and request.headers.get("authorization") == f"Bearer {token}":
        safe = request.url.scheme == "https" or host in ("localhost", "127.0.0.1", "::1")
        if not safe or host != urlsplit(constants.ENDPOINT).hostname:
            del request.headers["authorization"]
