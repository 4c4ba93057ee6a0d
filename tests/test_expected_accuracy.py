"""The accuracy to expect of training, from the benchmark's own tables."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from zooadapt.workflows.expected_accuracy import coefficients, expect

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit", BENCHMARKS / "expected_accuracy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_coefficients_are_those_of_the_tables(script: ModuleType) -> None:
    rows = script.rows((BENCHMARKS / "README.md").read_text("utf-8"))
    assert ("flowers5", 0.845, 0.852) in rows and ("sms_spam", 0.719, 0.881) in rows
    assert json.loads(json.dumps(script.fit(rows))) == coefficients()


def test_most_intervals_hold_what_was_reached(script: ModuleType) -> None:
    """Of means of three runs, so the interval is to hold nearly all."""
    rows = script.rows((BENCHMARKS / "README.md").read_text("utf-8"))
    expected = [expect(probe, 256, modality="image") for _, probe, _ in rows]
    inside = [
        one is not None and one.interval[0] <= auto <= one.interval[1]
        for one, (_, _, auto) in zip(expected, rows, strict=True)
    ]
    assert len(rows) == 28 and sum(inside) >= 27
    errors = [one.accuracy - auto for one, (_, _, auto) in zip(expected, rows, strict=True) if one]
    assert abs(np.mean(errors)) < 0.02


def test_intervals_narrow_with_samples_and_end_where_the_runs_do() -> None:
    few, many = (expect(0.8, n, modality="text") for n in (20, 4096))
    assert few is not None and many is not None and few.accuracy == many.accuracy
    assert few.interval[0] < many.interval[0] < 0.8 < many.interval[1] < few.interval[1]
    assert 0.8 < many.accuracy < 0.9
    for accuracy in (0.0, 0.29, 0.98, 1.0):
        assert expect(accuracy, 256, modality="image") is None
    assert expect(0.8, 256, modality="audio") is None
