"""An automatic choice with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One automatic choice: what was chosen, its value, and the fact that justifies it."""

    what: str
    value: str
    why: str
