"""Finds private data in files to publish: tokens, home folders, the name of the user."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping

from zooadapt.errors import DataError

_ADDRESS = re.compile(rb"\b(?:https?|hf)://[\w.-]+(?::\d+)?(?:/[\w.~%@+=&-]*)*")
"""The address of a page, whose path is public, without its query, which may be private."""


def check(files: Mapping[str, bytes]) -> None:
    """Raises: DataError naming the file and the line of private data in one of `files`."""
    for name, content in files.items():
        for what, match in _leaks(content):
            line = content[: match.start()].count(b"\n") + 1
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
    has_home = os.path.isabs(home) and home != "/"
    paths = {
        "the path of your home folder": (
            re.escape(home.encode()) + rb"(?![\w.-])" if has_home else b""
        ),
        "a path in a home folder": rb"(?:/home|/Users|[A-Za-z]:\\+Users)[/\\]+[\w.-]+[/\\]",
        "your user name in a path": rb"(?<=[/\\])" + user + rb"(?=[/\\])" if user else b"",
    }
    local = _ADDRESS.sub(lambda match: b" " * len(match[0]), content)
    for patterns, text in ((tokens, content), (paths, local)):
        for what, pattern in patterns.items():
            if pattern and (match := re.search(pattern, text)):
                yield what, match


def _user() -> str:
    """The name of the user; empty in a container without a name for the user's number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
