"""One HTTP request of huggingface_hub, with a deadline and an answer that can be acted on.

Imported only where the Hub is talked to. The client's own retries sleep for as long as a server
says and take a trickle of bytes for progress; here a request that failed for now ends at once, and
`zooadapt.zoo.hub.client` decides what comes next.
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
from huggingface_hub.utils import httpx

from zooadapt.errors import UnavailableError, UsageError

SLOWEST = 1024
"""Bytes per second; a transfer that stays below for the stall time has failed."""
_ETAG = re.compile(r'(W/)?"?[\w.+=-]+"?')  # it becomes the name of a file in the cache
_COMMIT = re.compile(r"/resolve/([0-9a-f]{40})/")
_FOR_NOW = {408, 429, 500, 502, 503, 504}


class FailedForNow(Exception):
    """A try that may succeed later. No subclass of what huggingface_hub catches."""

    def __init__(self, why: str, *, retry_after: float = 0.0, busy: bool = False) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        self.busy = busy


@contextmanager
def in_charge(*, largest: int) -> Iterator[None]:
    """Inside the block every request of huggingface_hub, of any thread, ends as said above, and no
    answer may have more than `largest` bytes. Outside of it they are huggingface_hub's own
    business, as other users of it expect."""
    if not _Client.hooks:
        _Client.hooks = get_session().event_hooks["request"]
        set_client_factory(_Client)
    _Client.in_charge, _Client.largest = True, largest
    _Client.end = time.monotonic() + duration("ZOOADAPT_HUB_DEADLINE", 24 * 3600.0)
    try:
        yield
    finally:
        _Client.in_charge = False


def failed_for_now(error: BaseException) -> FailedForNow | None:
    """The failure behind an error that huggingface_hub wrapped it in."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, FailedForNow):
            return seen
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return FailedForNow("fewer bytes came than were announced")
    return None


def duration(variable: str, default: float) -> float:
    """Seconds that the user set in the environment.

    Raises: UsageError for what is no positive number.
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
    """Sends what huggingface_hub's own client would, with deadlines and without its patience."""

    in_charge: ClassVar[bool] = False
    largest: ClassVar[int] = 0
    end: ClassVar[float] = 0.0
    hooks: ClassVar[Sequence[Callable[[httpx.Request], object]]] = ()
    """huggingface_hub's own, run before each request."""

    def __init__(self) -> None:
        super().__init__(
            event_hooks={"request": list(self.hooks), "response": [self._check]},
            follow_redirects=True,
            timeout=None,
        )
        self._stall = duration("ZOOADAPT_HUB_STALL", 30.0)
        self._connections: WeakSet[Any] = WeakSet()

    def send(self, request: httpx.Request, **options) -> httpx.Response:
        if not self.in_charge:
            return super().send(request, **options)
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            step: min(limits.get(step) or self._stall, self._stall)
            for step in ("connect", "read", "write", "pool")
        }
        request.extensions["trace"] = self._watch()
        request.headers["accept-encoding"] = "identity"  # a bomb would unpack on the disk
        _keep_token_home(request)
        try:
            return super().send(request, **options)
        except httpx.TransportError as error:
            raise FailedForNow(f"{request.url.host}: {error or type(error).__name__}") from error

    def _watch(self) -> Callable[[str, Any], None]:
        """What follows the steps of one request and cuts it off when its answer's headers take
        longer than a stall: httpx limits the wait for each of their bytes alone."""
        timer: threading.Timer | None = None

        def step(event: str, about: Mapping[str, Any]) -> None:
            nonlocal timer
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._connections.add(about["return_value"])
            elif event.endswith("receive_response_headers.started"):
                timer = threading.Timer(self._stall, self._cut)  # a redirect begins anew
                timer.daemon = True
                timer.start()
            elif timer is not None and "receive_response_headers." in event:
                timer.cancel()

        return step

    def _cut(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _check(self, response: httpx.Response) -> None:
        if not self.in_charge:
            return
        status = response.status_code
        if status in _FOR_NOW:
            asked = response.headers.get("retry-after", "")
            raise FailedForNow(
                f"{response.request.url.host} answered {status} {response.reason_phrase}",
                retry_after=float(asked) if asked.isdigit() else 0.0,
                busy=status == 429,
            )
        if wrong := _foreign(response):
            raise UnavailableError(
                f"what answered is not a Hub: {response.request.url.host} sent {wrong}",
                thing=response.request.url.host,
                remedy="check HF_ENDPOINT and the proxy settings",
            )
        response.stream = _Paced(response.stream, self._stall, self.largest, self.end)


class _Paced(httpx.SyncByteStream):
    """A body whose slowness, endlessness and breaking off are failures."""

    def __init__(self, body: httpx.SyncByteStream, stall: float, largest: int, end: float) -> None:
        self._body, self._stall, self._largest, self._end = body, stall, largest, end

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._body)
        received, pace, waited = 0, 0, 0.0
        while True:
            asked = time.monotonic()
            try:
                chunk = next(chunks, None)
            except httpx.TransportError as error:
                if received >= constants.DOWNLOAD_CHUNK_SIZE:
                    # huggingface_hub goes on from its last whole chunk when it sees this class.
                    raise httpx.RemoteProtocolError(str(error)) from error
                raise FailedForNow(f"the transfer broke off: {error}") from error
            if chunk is None:
                return
            waited += time.monotonic() - asked
            received, pace = received + len(chunk), pace + len(chunk)
            if received > self._largest:
                raise UnavailableError(
                    f"the Hub sent more than the {self._largest:,} bytes it may", thing="transfer"
                )
            if time.monotonic() > self._end:
                raise UnavailableError(
                    "the transfer took longer than it may",
                    thing="transfer",
                    remedy="try again on a better connection; ZOOADAPT_HUB_DEADLINE sets the time",
                )
            if waited >= self._stall:
                if pace < SLOWEST * waited:
                    raise UnavailableError(
                        f"the Hub sent {pace} bytes in {waited:.0f} s, too slow to go on",
                        thing="transfer",
                        remedy="try again on a better connection; ZOOADAPT_HUB_STALL sets the time",
                    )
                pace, waited = 0, 0.0
            yield chunk

    def close(self) -> None:
        self._body.close()


def _foreign(response: httpx.Response) -> str | None:
    """What in an answer no Hub would send and huggingface_hub would act upon."""
    headers = response.headers
    if headers.get("content-encoding", "identity") != "identity":
        return "a packed body"
    if not all(_ETAG.fullmatch(headers.get(name, "x")) for name in ("etag", "x-linked-etag")):
        return "a malformed ETag"
    asked = _COMMIT.search(response.request.url.path)
    if asked and headers.get("x-repo-commit", asked[1]) != asked[1]:
        return "a file of another commit"
    return None


def _keep_token_home(request: httpx.Request) -> None:
    """The user's token goes to the Hub's own host alone, and never unencrypted over a network."""
    token, host = get_token(), request.url.host
    if token and request.headers.get("authorization") == f"Bearer {token}":
        safe = request.url.scheme == "https" or host in ("localhost", "127.0.0.1", "::1")
        if not safe or host != urlsplit(constants.ENDPOINT).hostname:
            del request.headers["authorization"]
