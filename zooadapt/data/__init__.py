"""Labelled data, wherever it lies: samples, classes, splits and their fingerprint. No torch."""

from zooadapt.data.dataset import Dataset, ReadOptions, Split
from zooadapt.data.images import MODES
from zooadapt.data.in_memory import dataset_of, inputs_of, is_location
from zooadapt.data.labels import by_value
from zooadapt.data.opening import (
    open_dataset,
    open_inputs,
    open_samples,
    open_texts,
    read_plain,
)
from zooadapt.data.splits import hold_out, sample_per_class

__all__ = [
    "MODES",
    "Dataset",
    "ReadOptions",
    "Split",
    "by_value",
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
