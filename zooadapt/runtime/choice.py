"""An automatic choice with the fact it rests on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One automatic choice: what, which value, and the fact it rests on."""

    what: str
    value: str
    why: str
