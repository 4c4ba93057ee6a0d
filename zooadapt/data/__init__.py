"""Labelled data: samples, classes, splits and their fingerprint. No torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zooadapt.data.dataset import Dataset, Split
    from zooadapt.data.images import MODES
    from zooadapt.data.in_memory import dataset_of, inputs_of, is_location
    from zooadapt.data.opening import (
        open_dataset,
        open_inputs,
        open_samples,
        open_texts,
        read_plain,
    )
    from zooadapt.data.options import ReadOptions
    from zooadapt.data.splits import hold_out, sample_per_class

_HOMES = {
    "Dataset": "dataset",
    "MODES": "images",
    "ReadOptions": "options",
    "Split": "dataset",
    "dataset_of": "in_memory",
    "hold_out": "splits",
    "inputs_of": "in_memory",
    "is_location": "in_memory",
    "open_dataset": "opening",
    "open_inputs": "opening",
    "open_samples": "opening",
    "open_texts": "opening",
    "read_plain": "opening",
    "sample_per_class": "splits",
}

__all__ = [
    "MODES",
    "Dataset",
    "ReadOptions",
    "Split",
    "dataset_of",
    "hold_out",
    "inputs_of",
    "is_location",
    "open_dataset",
    "open_inputs",
    "open_samples",
    "open_texts",
    "read_plain",
    "sample_per_class",
]


def __getattr__(name: str) -> Any:
    """Names of the room, imported on first use: help needs only the options."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zooadapt.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"zooadapt.data.{_HOMES[name]}"), name)
