"""Adapt pretrained networks from the public zoos to a small data set of your own.

>>> import zooadapt
>>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
>>> labels = ["quiet", "loud"] * 10
>>> model = zooadapt.adapt("rnn:english", (texts, labels), strategy="probe")
>>> [one.label for one in model.predict(["nine ripe grapes", "ONE DRY DATE"])]
['quiet', 'loud']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zooadapt.api.functions import adapt, families, inspect, load, plan
    from zooadapt.api.model import Model
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
    from zooadapt.workflows.predictions import Prediction

__all__ = [
    "AccessError",
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
    "plan",
]
_HOMES = {
    "Model": "api.model",
    "Prediction": "workflows.predictions",
    "adapt": "api.functions",
    "families": "api.functions",
    "inspect": "api.functions",
    "load": "api.functions",
    "plan": "api.functions",
}


def __getattr__(name: str) -> Any:
    """Public names, imported when they are first asked for: torch and numpy take seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'zooadapt' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zooadapt.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
