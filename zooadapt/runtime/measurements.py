"""Small facts about this machine, measured once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from zooadapt.errors import ZooadaptError
from zooadapt.runtime import distributed, filesystem, model_files


def remember(kind: str, facts: Mapping[str, Any], measure: Callable[[], dict]) -> dict[str, Any]:
    """A small measured fact about this machine: measured once, by the main process where there are
    several, then read from the cache folder, if that can be written to."""
    return distributed.broadcast(lambda: _remember(kind, facts, measure))


def _remember(kind: str, facts: Mapping[str, Any], measure: Callable[[], dict]) -> dict[str, Any]:
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    path = filesystem.cache_home() / kind / f"{name}.json"
    try:
        return model_files.read_config(path)
    except ZooadaptError:
        found = measure()
        with suppress(ZooadaptError):
            filesystem.write_json(path, found)
        return found
