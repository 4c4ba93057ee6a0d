"""Many classes and long class names: bounded memory, and exports that can be read again."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zooadapt.errors import DataError, FileError
from zooadapt.heads import fitting
from zooadapt.runtime import model_files
from zooadapt.runtime.filesystem import write_json
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.classification import Classification
from zooadapt.tasks.metrics import MAX_MATRIX_CLASSES, measure
from zooadapt.training.config import Request
from zooadapt.workflows import export, inference
from zooadapt.workflows.adapt import adapt


def test_a_confusion_grows_with_the_samples_alone() -> None:
    labels = np.array([0, 7, 7, 7, 999_999])
    metrics = measure(np.array([0, 7, 7, 0, 3]), labels, 1_000_000)
    cells = [[0, 0, 1], [7, 0, 1], [7, 7, 2], [999_999, 3, 1]]
    assert metrics.confusion.to_json() == {"confusion": None, "confusion_cells": cells}
    assert metrics.accuracy == 0.6
    assert metrics.balanced_accuracy == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 4 / 5 + 0 + 0) / 4)


def test_the_confusion_of_few_classes_is_a_matrix() -> None:
    labels = np.arange(MAX_MATRIX_CLASSES)
    few = measure(labels, labels, MAX_MATRIX_CLASSES).confusion.to_json()
    assert few == {"confusion": np.eye(MAX_MATRIX_CLASSES, dtype=int).tolist()}
    assert measure(labels, labels, MAX_MATRIX_CLASSES + 1).confusion.to_json()["confusion"] is None


@dataclass(frozen=True, kw_only=True)
class Counting(Classification):
    """Classification that notes how many logits it is shown at a time."""

    compared: list[int] = field(default_factory=list)

    def calibrate(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.compared.append(logits.numel())
        return super().calibrate(logits, labels, weights)


def test_candidates_are_compared_on_a_bounded_number_of_logits() -> None:
    classes = 1_500
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 16, generator=rng)
    labels = torch.arange(classes).repeat(3)
    x = centres[labels] + 0.01 * torch.randn(len(labels), 16, generator=rng)
    task = Counting.of(classes)
    fit = fitting.fit_head(lambda: iter(x.split(1024)), labels, task)
    assert len(task.compared) == len(fitting.RIDGE_PATH) and max(task.compared) < 1 << 22
    assert fit.held_out_logits.shape == (3 * classes, classes)
    training = ((x @ fit.weight.T + fit.bias).argmax(1) == labels).float().mean()
    held_out = (fit.held_out_logits.argmax(1) == labels).float().mean()
    assert training >= held_out > 20 / classes


def table(path: Path, names: list[str], times: int) -> str:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows(
            [f"{k} words {k}", name] for k, name in enumerate(names) for _ in range(times)
        )
    return str(path)


def run(out: Path, data: str, **options: Any) -> dict[str, Any]:
    request = Request(source="english", data=data, out=out, strategy="probe", **options)
    return adapt(request, Progress()).report


def test_an_export_of_long_names_can_be_read(tmp_path: Path) -> None:
    names = [f"{k:03}" + "n" * 5_500 for k in range(MAX_MATRIX_CLASSES + 1)]
    report = run(tmp_path / "out", table(tmp_path / "t.csv", names, 2))
    text = (tmp_path / "out/config.json").read_text()
    assert len(text) > model_files.MAX_CONFIG_BYTES and text.count(names[0]) == 1
    assert report["confusion"] is None and report["classes"] == names
    assert sum(count for *_, count in report["confusion_cells"]) == 2 * len(names)
    assert json.loads((tmp_path / "out/report.json").read_text())["classes"] == names
    (tmp_path / "a.txt").write_text("0 words 0\n")
    predictions = inference.predict(
        str(tmp_path / "out"), [str(tmp_path / "a.txt")], inference.Settings(), Progress()
    )
    assert predictions[0].label in names


def test_names_too_long_for_an_export_are_refused_first(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", ["a" * 900_000, "b" * 900_000], 3)
    with pytest.raises(DataError, match="2 class names of up to 900,000 characters") as caught:
        run(tmp_path / "out", data)
    assert caught.value.remedy == "shorten the names of the classes"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_broken_export_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(tmp_path / "t.csv", ["a", "b"], 3)
    run(tmp_path / "out", data)
    before = (tmp_path / "out/config.json").read_bytes()

    def broken(folder: Path, state: Any, **options: Any) -> None:
        (folder / "model.safetensors").write_bytes(b"\0" * 100)

    monkeypatch.setattr(export.model_files, "write_model", broken)
    with pytest.raises((DataError, FileError), match="safetensors"):
        run(tmp_path / "out", data, overwrite=True, seed=1)
    assert (tmp_path / "out/config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({"names": ["n" * 300] * 20_000}, True),
        ({"names": ["n" * 1_500] * 2_000}, False),
        ({"name": "n" * 1_100_000}, False),
        ({"names": ["n" * 900] * 40_000}, False),
    ],
)
def test_the_size_limit_of_a_config_grows_with_its_names(
    config: dict[str, Any], fits: bool, tmp_path: Path
) -> None:
    write_json(tmp_path / "config.json", config)
    if fits:
        assert model_files.read_config(tmp_path / "config.json") == config
    else:
        with pytest.raises(DataError, match="has more than .* bytes"):
            model_files.read_config(tmp_path / "config.json")
