"""Calls of huggingface_hub, tried at most five times, with failures as typed errors."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zooadapt.errors import (
    AccessError,
    DataError,
    NotFoundError,
    TryAgainError,
    UnavailableError,
    UsageError,
    ZooadaptError,
)
from zooadapt.runtime import filesystem

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

    from zooadapt.zoo.hub.transport import TemporaryFailure

MAX_TRIES = 5
LONGEST_PAUSE = 60.0
LARGEST_ANSWER = 64_000_000
_LOGIN = "hf auth login"
T = TypeVar("T")


def is_offline(offline: bool) -> bool:
    """Whether connections are forbidden, by the argument or by `HF_HUB_OFFLINE=1`."""
    return offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def call(action: Callable[[], T], *, repo: str, largest: int = LARGEST_ANSWER) -> T:
    """The result of `action`, a repeatable request to the Hub about `repo`. An answer of more than
    `largest` bytes is aborted.

    Raises: NotFoundError (no such repo, revision or file), AccessError (gated, private, bad token),
    TryAgainError (busy, or changed meanwhile), UnavailableError (not reached, not a Hub, too slow),
    UsageError (invalid name), FileError or OutputError (the cache cannot be written).
    """
    from zooadapt.zoo.hub import transport

    first_pause = transport.duration("ZOOADAPT_HUB_PAUSE", 1.0)
    with transport.limited(largest=largest):
        for tries in range(1, MAX_TRIES + 1):
            try:
                return action()
            except Exception as error:
                failure = transport.temporary_failure(error)
                if failure is None:
                    raise _typed(error, repo) from error
                pause = failure.retry_after
                if tries == MAX_TRIES or pause > LONGEST_PAUSE:
                    raise _given_up(failure, repo, tries) from error
            time.sleep(max(pause, first_pause * 2 ** (tries - 1) * random.uniform(0.5, 1.0)))
    raise AssertionError("unreachable")


def _given_up(failure: TemporaryFailure, repo: str, tries: int) -> ZooadaptError:
    after = f" (tried {tries} times)" if tries > 1 else ""
    if failure.busy:
        wait = f"in {failure.retry_after:.0f} s" if failure.retry_after else "later"
        return TryAgainError(
            f"the Hub is busy: {_line(failure)}{after}", thing=repo, remedy=f"try again {wait}"
        )
    return UnavailableError(
        f"cannot get '{repo}' from the Hub: {_line(failure)}{after}",
        thing=repo,
        remedy="check the connection and HF_ENDPOINT, or use --offline for what is cached",
    )


def _typed(error: Exception, repo: str) -> Exception:
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ZooadaptError):
            return cause
        if isinstance(cause, hub.HfHubHTTPError):
            error = cause
            break
        cause = cause.__cause__
    page = f"{constants.ENDPOINT}/{repo}"
    match error:
        case hub.GatedRepoError():
            return AccessError(
                f"'{repo}' is gated: its owner has to grant you access",
                thing=repo,
                remedy=f"ask for access at {page}, then {_LOGIN}",
            )
        case hub.DisabledRepoError():
            return AccessError(f"'{repo}' is disabled on the Hub", thing=repo, remedy=f"see {page}")
        case hub.RevisionNotFoundError():
            return NotFoundError(
                f"'{repo}' has no such revision", thing=repo, remedy=f"see {page}/refs"
            )
        case hub.RemoteEntryNotFoundError():
            return NotFoundError(f"'{repo}' lacks a file: {_line(error)}", thing=repo)
        case hub.RepositoryNotFoundError():
            return _absent(error, repo)
        case hub.BadRequestError():
            return DataError(f"the Hub refuses this for '{repo}': {_line(error)}", thing=repo)
        case hub.HfHubHTTPError():
            return _by_status(error, repo)
        case hub.HFValidationError() | hub.HfUriError():
            return UsageError(f"'{repo}' is not a repository's name: {_line(error)}", thing=repo)
        case hub.LocalTokenNotFoundError():
            return AccessError("this needs a Hub token", thing=repo, remedy=_LOGIN)
    return _local_or_foreign(error, repo)


def _absent(error: HfHubHTTPError, repo: str) -> ZooadaptError:
    if error.response.status_code == 401:
        return AccessError(
            f"'{repo}' does not exist on the Hub or is private",
            thing=repo,
            remedy=f"check the name, or {_LOGIN}",
        )
    return NotFoundError(
        f"'{repo}' does not exist on the Hub or is private and your token may not see it",
        thing=repo,
        remedy="check the name and the token's rights",
    )


def _by_status(error: HfHubHTTPError, repo: str) -> ZooadaptError:
    status, line = error.response.status_code, _line(error)
    if status in (401, 403):
        return AccessError(f"the Hub denies this for '{repo}': {line}", thing=repo, remedy=_LOGIN)
    if status in (409, 412, 423):
        return TryAgainError(
            f"'{repo}' changed meanwhile: {line}", thing=repo, remedy="run the command again"
        )
    return UnavailableError(f"the Hub failed for '{repo}': {line}", thing=repo)


def _local_or_foreign(error: Exception, repo: str) -> Exception:
    """Errors of the disk, and of a server that is not a Hub."""
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # a lazy re-export

    no_answer = (hub.FileMetadataError, hub.LocalEntryNotFoundError, httpx.HTTPError,
                 httpx.InvalidURL, ConnectionError)  # fmt: skip
    if isinstance(error, OSError) and error.errno and not isinstance(error, no_answer):
        try:
            with filesystem.writing(Path(error.filename or "the Hub's cache")):
                raise error
        except ZooadaptError as typed:
            return typed
    if isinstance(error, (*no_answer, ValueError, KeyError, TypeError, AttributeError)):
        return UnavailableError(
            f"what answered for '{repo}' is not a Hub: {type(error).__name__}: {_line(error)}",
            thing=repo,
            remedy="check HF_ENDPOINT and the proxy settings",
        )
    return error


def _line(error: BaseException) -> str:
    """The message of an error, as one printable line of bounded length."""
    message = getattr(error, "server_message", None) or str(error).split("\n\n")[0]
    text = " ".join(message.split())
    return "".join(char for char in text if char.isprintable())[:300] or type(error).__name__
