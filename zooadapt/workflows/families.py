"""The installed model families, as `plugins list` shows them."""

from __future__ import annotations

from typing import Any

from zooadapt.data import modalities
from zooadapt.zoo import registry


def families() -> list[dict[str, Any]]:
    """Every plugin's attributes, or the reason why it cannot be used: it cannot be loaded, or no
    package brings its kind of data."""
    known = modalities.names()
    return [_checked(facts, known) for facts in registry.describe()]


def _checked(facts: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    name = facts["modality"]
    if facts["error"] is not None or name in known:
        return facts
    why = f"it reads data of kind '{name}', and there are {', '.join(known)}"
    return facts | {"error": why, "remedy": f"install the plugin that brings '{name}'"}
