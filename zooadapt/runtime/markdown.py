"""Tables and strangers' names as Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of cells that are Markdown already."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def escape(name: str) -> str:
    """A name from the data as text that no Markdown, table or HTML reader takes for markup, and
    none makes a link, a mention or a formula of."""
    text = html.escape("".join(c if c.isprintable() else "\ufffd" for c in name), quote=False)
    return "".join("\\" + c if c in "\\`*_{}[]()#+-.!|~:@$=" else c for c in text)
