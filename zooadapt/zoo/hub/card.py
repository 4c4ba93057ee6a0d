"""A model card: YAML front matter, people's text, and one marked block of zooadapt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zooadapt.errors import DataError

BEGIN, END = "<!-- zooadapt:begin -->", "<!-- zooadapt:end -->"
FOLDER = "PATH_OF_THIS_FOLDER"
"""Placeholder in a card for the location of the model, which publishing replaces."""
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_MAX_FRONT = 100_000
LICENSE = ("license", "license_name", "license_link")
"""The licence's keys of a front matter; the last two describe a licence that is `other`."""


def split(text: str, *, where: str) -> tuple[dict[str, Any], str]:
    """The front matter as data, and the rest.

    Raises: DataError when the front matter is not a YAML mapping or is too long.
    """
    match = _FRONT.match(text)
    if not match:
        return {}, text
    import yaml

    try:
        if len(match[1]) > _MAX_FRONT:
            raise ValueError(f"more than {_MAX_FRONT:,} characters")
        data = yaml.safe_load(match[1]) or {}
        if not isinstance(data, dict):
            raise ValueError("not a mapping")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(
            f"the front matter of '{where}' cannot be read: {why}",
            thing=where,
            remedy="correct the YAML between its --- lines",
        ) from error
    return data, text[match.end() :]


def join(front: Mapping[str, Any], body: str) -> str:
    """A card from its front matter and the rest; equal data gives equal text."""
    if not front:
        return body
    import yaml

    text = yaml.safe_dump(dict(front), sort_keys=True, allow_unicode=True)
    return f"---\n{text}---\n{body}"


def is_ours(text: str) -> bool:
    """Whether a card holds the block that zooadapt writes into every card."""
    return _BLOCK.search(text) is not None


def merge(ours: str, theirs: str | None) -> str:
    """The existing card `theirs` with the block of `ours`; the text that people wrote stays.

    Keys of our front matter replace theirs, except the licence; their further keys and tags stay.
    Raises: DataError when a front matter cannot be read.
    """
    if theirs is None:
        return ours
    front, body = split(ours, where="README.md")
    their_front, their_body = split(theirs, where="README.md on the Hub")
    block = _BLOCK.search(body)
    if block and is_ours(their_body):
        body = _BLOCK.sub(lambda _: block[0], their_body, count=1)
    elif their_body.strip():
        body = their_body.rstrip() + "\n\n" + body.lstrip()
    tags = [*_listed(their_front.get("tags")), *_listed(front.get("tags"))]
    merged = their_front | front | {key: their_front[key] for key in LICENSE if key in their_front}
    if tags:
        merged["tags"] = sorted(set(map(str, tags)))
    return join(merged, body)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
