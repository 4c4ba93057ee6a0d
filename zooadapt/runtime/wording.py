"""Small parts of sentences."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 epoch`, `2 epochs`; many: an irregular plural."""
    return f"{number} {one}" if number == 1 else f"{number} {many or f'{one}s'}"


def listed(names: Sequence[str], *, most: int = 5, separator: str = ", ") -> str:
    """The first names of a list, with an ellipsis for the others."""
    return separator.join([*names[:most], *(["..."] if len(names) > most else [])])


def printable(text: str) -> str:
    """Text from data with line breaks, control and direction-changing characters escaped."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
