"""What must not leave this machine: tokens, home folders, the name of the user."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from zooadapt.errors import DataError


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

    token, home = re.escape((get_token() or "").encode()), str(Path.home()).encode()
    user = re.escape(getpass.getuser().encode())
    patterns = {
        "your Hub token": token,
        "a Hub token": rb"\bhf_[A-Za-z0-9_]{16,}",
        "the path of your home folder": re.escape(home) + rb"(?![\w.-])" if home != b"/" else b"",
        "a path in a home folder": rb"(?:/home|/Users|[A-Za-z]:\\+Users)[/\\]+[\w.-]+[/\\]",
        "your user name in a path": rb"(?<=[/\\])" + user + rb"(?=[/\\])",
    }
    for what, pattern in patterns.items():
        if pattern and (found := re.search(pattern, content)):
            yield what, found
