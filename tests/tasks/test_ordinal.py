"""Grades as a task: their order, the median grade, and a kappa that knows near from far."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zooadapt
from zooadapt.errors import DataError
from zooadapt.heads import fitting
from zooadapt.tasks.grade_metrics import measure
from zooadapt.tasks.ordinal import Ordinal


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of squares of four sizes, which are their grades."""
    root = tmp_path_factory.mktemp("graded")
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 24)):
        with (root / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", "label"])
            for k in range(count):
                grade = k % 4
                pixels = rng.integers(0, 60, (8, 8))
                pixels[: 2 * grade + 1, : 2 * grade + 1] += 150
                Image.fromarray(pixels.astype(np.uint8)).save(root / f"{part}{k}.png")
                rows.writerow([f"{part}{k}.png", (2, 4, 8, 16)[grade]])
    return root


def test_grades_are_in_the_order_of_their_numbers() -> None:
    task, labels = Ordinal.read(["10", "2", "9", "2"], columns=["label"], row=str)
    assert task.outputs == ("2", "9", "10") and labels.tolist() == [2, 0, 1, 0]
    task, _ = Ordinal.read(["3 high", "1 low", "2 middle"], columns=["label"], row=str)
    assert task.outputs == ("1 low", "2 middle", "3 high")
    with pytest.raises(DataError, match="grade 'high' begins with no number"):
        Ordinal.read(["high", "1"], columns=["label"], row=str)


def test_the_answer_is_the_median_grade() -> None:
    task = Ordinal(outputs=("1", "2", "3"))
    outputs = np.array([[0.4, 0.2, 0.4], [0.6, 0.0, 0.4], [0.1, 0.2, 0.7]])
    assert task.answers(outputs).tolist() == [1, 0, 2]
    said = task.say(outputs, ["a", "b", "c"], [None] * 3, top=None, reject_below=0.0)
    assert [one.label for one in said] == ["2", "1", "3"]
    assert said[0].probability == pytest.approx(0.2)


def test_metrics_are_those_of_other_libraries() -> None:
    skm = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true = rng.integers(5, size=300)
    answers = (true + rng.integers(-1, 2, size=300)).clip(0, 4)
    one = measure(answers, true, 5, confidence=None, distinct=None)
    assert one.kappa == pytest.approx(skm.cohen_kappa_score(true, answers, weights="quadratic"))
    assert one.mae == pytest.approx(np.abs(true - answers).mean())
    assert one.kappa_interval[0] < one.kappa < one.kappa_interval[1]
    constant = measure(np.full(300, 2), true, 5, confidence=None, distinct=None)
    assert abs(constant.kappa) < 1e-12


def test_codes_of_near_grades_are_alike_and_leave_one_out_is_exact() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=rng)
    labels = (x[:, 0] * 1.2 + 2).round().clamp(0, 4).long()
    task = Ordinal(outputs=tuple("12345"))
    fit = fitting.fit_head(lambda: iter([x]), labels, task)
    codes = task.codes(labels).rows(torch.arange(50))
    keep = torch.arange(50) != 3
    a, b = x[keep].double(), codes[keep]
    gram = (a - a.mean(0)).T @ (a - a.mean(0)) + fit.l2 * torch.eye(6).double()
    weight = torch.linalg.solve(gram, (a - a.mean(0)).T @ (b - b.mean(0)))
    expected = fit.scale * ((x[3].double() - a.mean(0)) @ weight + b.mean(0))
    torch.testing.assert_close(fit.held_out_logits[3].double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("strategy", ["probe", "lp-ft", "auto"])
def test_grades_are_learned_exported_and_predicted(
    graded: Path, tmp_path: Path, strategy: str
) -> None:
    options: dict[str, Any] = {} if strategy == "probe" else {"epochs": 1}
    model = zooadapt.adapt(
        "digits04", graded, out=tmp_path / "out", task="ordinal", strategy=strategy,
        progress=False, **options,
    )  # fmt: skip
    test = model.report["test"]
    assert model.report["task"] == "ordinal" and model.classes == ("2", "4", "8", "16")
    assert test["kappa"] > 0.6 and test["mae"] < 0.8 and "accuracy" in test
    assert model.report["baselines"]["majority"]["kappa"] == pytest.approx(0, abs=1e-12)
    again = zooadapt.load(tmp_path / "out")
    assert again.evaluate(graded, progress=False)["mae"] == pytest.approx(test["mae"])
    (one,) = again.predict(graded / "test3.png", progress=False)
    assert one.label in model.classes and math.isclose(one.probability,
                                                       one.probabilities[one.label])  # fmt: skip
    assert "quadratic kappa" in (tmp_path / "out/report.html").read_text()
