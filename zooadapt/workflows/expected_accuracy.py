"""The accuracy to expect of training, by that of a linear probe, from the benchmark's own runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy.stats import t as student

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The accuracy of a model trained by `auto`."""

    accuracy: float
    interval: tuple[float, float]
    """95 %, for a data set that the runs did not hold: of the runs' residual and of the probe's own
    uncertainty."""


@cache
def coefficients() -> Mapping[str, Any]:
    """The line that was fitted, the command that did it, and what its runs were."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    return table


def expect(accuracy: float, n: int, *, modality: str) -> Expectation | None:
    """What `auto` reaches within ten minutes on two cores where the leave-one-out accuracy of a
    linear probe on the same n training samples is this; None outside of the accuracies and the
    modalities of the runs."""
    fitted = coefficients()
    low, high = fitted["probe_range"]
    if modality not in fitted["modalities"] or not low <= accuracy <= high:
        return None
    slope, middle = fitted["slope"], fitted["intercept"] + fitted["slope"] * _logit(accuracy)
    noise = slope / math.sqrt(n * accuracy * (1 - accuracy))
    half = float(student.ppf((1 + _LEVEL) / 2, fitted["data_sets"] - 1))
    half *= math.hypot(fitted["residual"], noise)
    return Expectation(
        accuracy=_share(middle), interval=(_share(middle - half), _share(middle + half))
    )


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
