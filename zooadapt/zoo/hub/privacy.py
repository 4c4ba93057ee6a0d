"""What must not leave this machine: tokens, home folders, the name of the user."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping

from zooadapt.errors import DataError

_ADDRESS = re.compile(rb"\b(?:https?|hf)://[\w.-]+(?::\d+)?(?:/[\w.~%@+=&-]*)*")
"""Of a page, whose path says nothing of this machine; without a query, which may."""


def check(files: Mapping[str, bytes]) -> None:
    """Raises: DataError naming the file and the place where one of `files` gives something away."""
    for name, content in files.items():
        for what, found in _leaks(content):
            line = content[: found.start()].count(b"\n") + 1
            raise DataError(
                f"'{name}' holds {what} in line {line} and must not be published",
                thing=name,
                remedy="remove it there, then push again",
            )


def _leaks(content: bytes) -> Iterator[tuple[str, re.Match[bytes]]]:
    from huggingface_hub import get_token

    tokens = {
        "your Hub token": re.escape((get_token() or "").encode()),
        "a Hub token": rb"\bhf_[A-Za-z0-9_]{16,}",
    }
    user, home = re.escape(_user().encode()), os.path.expanduser("~")
    known = os.path.isabs(home) and home != "/"
    paths = {
        "the path of your home folder": re.escape(home.encode()) + rb"(?![\w.-])" if known else b"",
        "a path in a home folder": rb"(?:/home|/Users|[A-Za-z]:\\+Users)[/\\]+[\w.-]+[/\\]",
        "your user name in a path": rb"(?<=[/\\])" + user + rb"(?=[/\\])" if user else b"",
    }
    local = _ADDRESS.sub(lambda found: b" " * len(found[0]), content)
    for patterns, place in ((tokens, content), (paths, local)):
        for what, pattern in patterns.items():
            if pattern and (found := re.search(pattern, place)):
                yield what, found


def _user() -> str:
    """The name of the user; nothing in a container that has none for its user's number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
