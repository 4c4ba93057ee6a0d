"""Names of classes and labels: one Unicode form each, and which of them look alike."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from zooadapt.errors import DataError
from zooadapt.runtime.wording import listed


def normalised(names: Iterable[str], noun: tuple[str, str]) -> dict[str, str]:
    """The NFC form of each of these names.

    Raises: DataError for names that differ in their form alone.
    """
    spelled: dict[str, str] = {}
    for name in sorted(set(names)):
        normal = unicodedata.normalize("NFC", name)
        if spelled.setdefault(normal, name) != name:
            raise DataError(
                f"two {noun[1]} are spelled '{normal}' in different Unicode forms",
                thing=normal,
                remedy="merge or rename them",
            )
    return {name: normal for normal, name in spelled.items()}


def twins(names: Sequence[str], counts: Sequence[int], noun: tuple[str, str]) -> list[str]:
    """A note on names that differ only in case, spaces or the digits of a number, if any do."""
    alike = Counter(map(loosely, names))
    each = zip(names, counts, strict=True)
    shown = [f"{name!r} ({count})" for name, count in each if alike[loosely(name)] > 1]
    return [f"{noun[1]} that differ only in case, spaces or digits: {listed(shown)}"] * bool(shown)


def loosely(name: str) -> str:
    """Equal for names that differ only in case, spaces or the digits of a number."""
    try:
        return repr(float(name))
    except ValueError:
        return " ".join(name.split()).casefold()


def others(names: Sequence[str]) -> str:
    """That the first of these names is not the only one, if it is not."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
