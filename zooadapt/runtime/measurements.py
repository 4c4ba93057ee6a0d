"""Small facts about this machine, measured once and stored in the cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from zooadapt.errors import ZooadaptError
from zooadapt.runtime import distributed, filesystem, model_files


def remember(
    kind: str, facts: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """A measurement of a `kind` under these `facts`: the main process measures it once and reads it
    from the cache folder afterwards. A cache folder that cannot be written to is no error."""
    return distributed.broadcast(lambda: _remember(kind, facts, measure))


def _remember(
    kind: str, facts: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    path = filesystem.cache_home() / kind / f"{name}.json"
    try:
        return model_files.read_config(path)
    except ZooadaptError:
        measured = measure()
        with suppress(ZooadaptError):
            filesystem.write_json(path, measured)
        return measured
