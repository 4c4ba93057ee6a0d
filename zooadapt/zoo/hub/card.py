"""A model card: YAML front matter, what people wrote, and one marked block that is ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from zooadapt.errors import DataError

BEGIN, END = "<!-- zooadapt:begin -->", "<!-- zooadapt:end -->"
FOLDER = "PATH_OF_THIS_FOLDER"
"""Stands in a card for the place of the model, which only the publisher knows."""
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_MAX_FRONT = 100_000
LICENSE = ("license", "license_name", "license_link")
"""What a front matter says of the licence; the last two belong to one that is `other`."""


def split(text: str, *, where: str) -> tuple[dict[str, Any], str]:
    """The front matter as data, and the rest.

    Raises: DataError when the front matter is no YAML mapping or too long to be one.
    """
    found = _FRONT.match(text)
    if not found:
        return {}, text
    try:
        if len(found[1]) > _MAX_FRONT:
            raise ValueError(f"more than {_MAX_FRONT:,} characters")
        data = yaml.safe_load(found[1]) or {}
        if not isinstance(data, dict):
            raise ValueError("not a mapping")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(
            f"the front matter of '{where}' cannot be read: {why}",
            thing=where,
            remedy="correct the YAML between its --- lines",
        ) from error
    return data, text[found.end() :]


def join(front: Mapping[str, Any], body: str) -> str:
    """A card from its front matter and the rest; equal data gives equal text."""
    if not front:
        return body
    text = yaml.safe_dump(dict(front), sort_keys=True, allow_unicode=True)
    return f"---\n{text}---\n{body}"


def is_ours(text: str) -> bool:
    """Whether a card holds our block, which every model that was published from here has."""
    return _BLOCK.search(text) is not None


def merge(ours: str, theirs: str | None) -> str:
    """Our card put into the one that is there: our block is replaced, what a person wrote stays.

    Front matter that we make ours says what is measured; the licence, further keys and tags stay.
    Raises: DataError when a front matter cannot be read.
    """
    if theirs is None:
        return ours
    front, body = split(ours, where="README.md")
    there, kept = split(theirs, where="README.md on the Hub")
    block = _BLOCK.search(body)
    if block and is_ours(kept):
        body = _BLOCK.sub(lambda _: block[0], kept, count=1)
    else:
        body = kept.rstrip() + "\n\n" + body.lstrip() if kept.strip() else body
    tags = [*_listed(there.get("tags")), *_listed(front.get("tags"))]
    merged = there | front | {key: there[key] for key in LICENSE if key in there}
    if tags:
        merged["tags"] = sorted(set(map(str, tags)))
    return join(merged, body)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
