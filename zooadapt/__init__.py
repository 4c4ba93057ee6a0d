"""Adapt pretrained models from the public zoos to your own small data set.

>>> import zooadapt
>>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
>>> labels = ["quiet", "loud"] * 10
>>> model = zooadapt.adapt("rnn:english", (texts, labels), strategy="probe")
>>> [prediction.label for prediction in model.predict(["nine ripe grapes", "ONE DRY DATE"])]
['quiet', 'loud']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zooadapt.runtime.version import __version__

if TYPE_CHECKING:
    from zooadapt.api.functions import adapt, families, inspect, load, plan, rank
    from zooadapt.api.model import Model
    from zooadapt.api.sources import models, pretrain, pull
    from zooadapt.errors import (
        AccessError,
        DataError,
        FileError,
        NotFoundError,
        OutputError,
        PluginError,
        ResourceError,
        TryAgainError,
        UnavailableError,
        UsageError,
        ZooadaptError,
    )
    from zooadapt.family import Clip
    from zooadapt.tasks.predictions import Prediction

__all__ = [
    "AccessError",
    "Clip",
    "DataError",
    "FileError",
    "Model",
    "NotFoundError",
    "OutputError",
    "PluginError",
    "Prediction",
    "ResourceError",
    "TryAgainError",
    "UnavailableError",
    "UsageError",
    "ZooadaptError",
    "__version__",
    "adapt",
    "families",
    "inspect",
    "load",
    "models",
    "plan",
    "pretrain",
    "pull",
    "rank",
]
_HOMES = {
    "Clip": "family",
    "Model": "api.model",
    "Prediction": "tasks.predictions",
    "adapt": "api.functions",
    "families": "api.functions",
    "inspect": "api.functions",
    "load": "api.functions",
    "models": "api.sources",
    "plan": "api.functions",
    "pretrain": "api.sources",
    "pull": "api.sources",
    "rank": "api.functions",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: torch and numpy take seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'zooadapt' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zooadapt.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
