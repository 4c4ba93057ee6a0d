"""Runs for several labels: tiles of digits, from reading to predictions."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.data import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.settings import Settings

LABELS = ("bar", "dot", "edge")
READING = ReadOptions(task="multilabel", label_column="labels", image_column="image")


def tiles(root: Path, name: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Noisy pictures with any of a bar, a dot and an edge, and the rows of their table."""
    rng, rows = np.random.default_rng(seed), []
    for k in range(count):
        shown = rng.random(3) < 0.45
        pixels = rng.normal(60, 60, (16, 16))
        if shown[0]:
            pixels[:, 3:6] += 120
        if shown[1]:
            pixels[10:14, 10:14] += 120
        if shown[2]:
            pixels[:2] += 120
        path = f"{name}{k}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / path)
        rows.append((path, "|".join(np.array(LABELS)[shown])))
    return rows


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tagged")
    for name, count, seed in (("train", 90, 0), ("test", 40, 1)):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "labels"), *tiles(root, name, count, seed)])
    return root


def run(data: Path, out: Path, **options: Any) -> dict[str, Any]:
    options = {"source": "digits04", "reading": READING, "strategy": "probe"} | options
    return adapt(Request(data=str(data), out=out, **options), Progress()).report


@pytest.fixture(scope="module")
def probe(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("probe") / "model"
    report = run(tagged, out, suspects=out.parent / "suspects.csv")
    return out, report


def test_a_probe_tells_labels_and_its_export_says_how(
    probe: tuple[Path, dict[str, Any]],
) -> None:
    out, report = probe
    assert report["task"] == "multilabel" and report["classes"] == list(LABELS)
    assert report["val"]["n"] == 90 and report["test"]["map"] > 0.85
    assert report["baselines"]["majority"]["map"] < 0.6 < report["test"]["macro_f1"]
    assert [one["label"] for one in report["labels"]] == list(LABELS)
    config = json.loads((out / "config.json").read_text())["zooadapt"]
    assert config["task"]["name"] == "multilabel"
    assert config["task"]["thresholds"] == [one["threshold"] for one in report["labels"]]
    card = (out / "README.md").read_text()
    assert "multi-label-classification" in card and "# Image multi-label classification" in card
    assert "| dot |" in card and "mean_average_precision" in card
    assert "sigmoid" in card and "softmax" not in card
    page = (out / "report.html").read_text()
    assert "mAP" in page and "3 labels" in page and "Accuracy and" not in page
    assert "average precision" in page and "how frequent each label is" in page


def test_predict_and_evaluate_follow_the_export(
    probe: tuple[Path, dict[str, Any]], tagged: Path, tmp_path: Path
) -> None:
    out, report = probe
    settings = Settings(reading=replace(READING, task="auto"))
    figures, task = inference.evaluate(
        str(out), str(tagged), settings, Progress(), listing=tmp_path / "answers.csv"
    )
    scores = task.scores_of(figures)
    for name, score in report["test"].items():
        assert scores[name] == pytest.approx(score), name
    with (tmp_path / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["correct"] == "yes" for row in rows])
    assert len(rows) == 40 and right == np.mean([row["truth"] == row["labels"] for row in rows])
    assert right > 0.5
    inputs = [str(tagged / f"test{k}.png") for k in range(3)]
    said = inference.predict(str(out), inputs, settings, Progress(), top=2)
    assert ["|".join(sorted(one.labels)) for one in said] == [row["labels"] for row in rows[:3]]
    assert all(len(one.probabilities) == 2 for one in said)
    with pytest.raises(UsageError, match="no input is rejected"):
        inference.predict(str(out), inputs, settings, Progress(), reject_below=0.5)


def test_columns_of_labels_give_the_same_model(
    probe: tuple[Path, dict[str, Any]], tagged: Path, tmp_path: Path
) -> None:
    for path in tagged.iterdir():
        if path.suffix == ".png":
            (tmp_path / path.name).symlink_to(path)
            continue
        with path.open() as file:
            rows = list(csv.DictReader(file))
        with (tmp_path / path.name).open("w", newline="") as file:
            names = LABELS[::-1]
            lines = [
                (row["image"], *(int(name in row["labels"].split("|")) for name in names))
                for row in rows
            ]
            csv.writer(file).writerows([("image", *names), *lines])
    reading = ReadOptions(image_column="image", label_columns=",".join(LABELS), follow_links=True)
    report = run(tmp_path, tmp_path / "out", reading=reading)
    out, other = probe
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()
    assert report["test"] == other["test"]


def test_stock_timm_gives_the_probabilities(
    probe: tuple[Path, dict[str, Any]], tagged: Path
) -> None:
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    (one,) = inference.predict(
        str(probe[0]), [str(tagged / "test0.png")], Settings(precision="fp32"), Progress()
    )
    model = timm.create_model(f"local-dir:{probe[0]}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    mode = "L" if model.pretrained_cfg["input_size"][0] == 1 else "RGB"
    image = transform(Image.open(tagged / "test0.png").convert(mode))
    with torch.inference_mode():
        probabilities = model(image[None]).sigmoid()[0].tolist()
    names = model.pretrained_cfg["label_names"]
    assert dict(zip(names, probabilities, strict=True)) == pytest.approx(
        dict(one.probabilities), abs=1e-4
    )


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "lp-ft", "label_smoothing": 0.1},
        {"strategy": "full", "imbalance": "weights", "mixup": 0.2},
    ],
)
def test_trained_phases_lower_the_binary_loss(
    tagged: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    report = run(tagged, tmp_path / "out", epochs=2, **options)
    assert report["epochs"] and report["test"]["map"] > 0.6
    assert set(report["baselines"]) >= {"majority"}


def test_auto_plans_runs_and_adapts_on(
    probe: tuple[Path, dict[str, Any]], tagged: Path, tmp_path: Path
) -> None:
    """The head's rows of labels are carried from a source that knows them."""
    source = str(probe[0])
    plan = run(tagged, tmp_path / "out", source=source, strategy="auto", plan_only=True)["plan"]
    assert plan["task"] == "multilabel" and not (tmp_path / "out").exists()
    report = run(tagged, tmp_path / "out", source=source, strategy="lp-ft", labels_per_class=12,
                 epochs=1)  # fmt: skip
    assert report["carried_classes"] == list(LABELS) and report["test"]["map"] > 0.8
    assert report["data"]["samples"]["train"] <= 4 * 12


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"metric": "balanced-accuracy"}, "--metric"),
        ({"imbalance": "sampler"}, "--imbalance"),
        ({"head": "logistic"}, "--head"),
    ],
)
def test_what_means_nothing_for_labels_is_a_usage_error(
    tagged: Path, tmp_path: Path, options: dict[str, Any], option: str
) -> None:
    with pytest.raises(UsageError, match="no meaning for multilabel") as raised:
        run(tagged, tmp_path / "out", **options)
    assert raised.value.thing == option
