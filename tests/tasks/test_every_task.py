"""What is true of classes is true of every task: plans, resumption, the cache, chains, processes,
and exports that other tools load."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import zooadapt
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import TASKS, named
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt

COLUMNS = {"classification": "kind", "multilabel": "tags", "regression": "size", "ordinal": "grade"}
"""Of the table; a task without one is not tested."""


class Stops(Progress):
    """Interrupts when a line begins with these words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def say(self, line: str) -> None:
        if line.startswith(self.words):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a bright square in a corner, and labels of every kind of it."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    for part, count in (("train", 64), ("test", 24)):
        with (root / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", *COLUMNS.values()])
            for k in range(count):
                side, right = 2 + k % 4, k // 4 % 2
                pixels = rng.integers(0, 50, (8, 8))
                columns = slice(8 - side, 8) if right else slice(0, side)
                pixels[:side, columns] += 180
                Image.fromarray(pixels.astype(np.uint8)).save(root / f"{part}{k}.png")
                tags = [name for name, on in (("right", right), ("big", side > 3)) if on]
                size = side * side + rng.normal(0, 0.5)
                rows.writerow([f"{part}{k}.png", ["left", "right"][right], "|".join(tags),
                               f"{size:.3f}", side])  # fmt: skip
    return root


def run(
    table: Path, out: Path, task: str, progress: Progress | None = None, **options: Any
) -> dict[str, Any]:
    from zooadapt.data import ReadOptions

    request = Request(
        **{"source": "digits04", "precision": "fp32", "batch_size": 16} | options,
        data=str(table),
        out=out,
        reading=ReadOptions(task=task, label_column=COLUMNS[task]),
    )
    return adapt(request, progress or Progress()).report


def score(report: dict[str, Any], task: str) -> float:
    return float(report["test"][named(task).shown[0].key])


def test_every_task_is_tested_here() -> None:
    assert TASKS.keys() == COLUMNS.keys()


@pytest.mark.parametrize("task", COLUMNS)
@pytest.mark.parametrize("strategy", ["probe", "full", "lp-ft", "gradual", "auto"])
def test_every_strategy_learns(table: Path, tmp_path: Path, task: str, strategy: str) -> None:
    epochs = {} if strategy == "probe" else {"epochs": 3}
    report = run(table, tmp_path / "out", task, strategy=strategy, **epochs)
    assert report["task"] == task and score(report, task) > 0.5
    plan = run(table, tmp_path / "plan", task, strategy=strategy, plan_only=True)
    assert plan["plan"]["task"] == task and not (tmp_path / "plan").exists()


@pytest.mark.parametrize("task", COLUMNS)
def test_a_resumed_run_ends_in_the_same_bytes(table: Path, tmp_path: Path, task: str) -> None:
    options = {"strategy": "lp-ft", "epochs": 3, "checkpoint_seconds": 0.0}
    whole = run(table, tmp_path / "whole", task, **options)
    with pytest.raises(KeyboardInterrupt):
        run(table, tmp_path / "cut", task, Stops("epoch 2 of 3"), **options)
    resumed = run(table, tmp_path / "cut", task, resume=True)
    assert resumed["epochs"] == whole["epochs"] and resumed["test"] == whole["test"]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("task", COLUMNS)
def test_a_second_run_reads_the_cache_and_gives_the_same_bytes(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        run(table, tmp_path / name, task, strategy="probe")
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("task", COLUMNS)
def test_an_export_is_a_source_and_is_put_to_use(table: Path, tmp_path: Path, task: str) -> None:
    first = run(table, tmp_path / "one", task, strategy="probe")
    chained = run(table, tmp_path / "two", task, source=str(tmp_path / "one"), strategy="probe")
    assert score(chained, task) > 0.5
    model = zooadapt.load(tmp_path / "one")
    measured = model.evaluate(
        table, label_column=COLUMNS[task], split="test", progress=False, precision="fp32"
    )
    key = named(task).shown[0].key
    assert measured[key] == pytest.approx(first["test"][key], rel=1e-4)
    said = model.predict([table / "test0.png", table / "test1.png"], progress=False)
    assert [one.input for one in said] == [str(table / f"test{k}.png") for k in range(2)]
    assert all(json.dumps(one.to_json()) for one in said)
    assert "## Use" in (tmp_path / "one/README.md").read_text()


@pytest.mark.parametrize("task", COLUMNS)
def test_stock_timm_gives_the_logits(table: Path, tmp_path: Path, task: str) -> None:
    timm = pytest.importorskip("timm")
    weights = timm.create_model("test_resnet", num_classes=3).state_dict()
    from zooadapt.runtime.model_files import write_weights

    source = tmp_path / "source"
    source.mkdir()
    write_weights(source / "model.safetensors", weights)
    (source / "config.json").write_text(json.dumps({"architecture": "test_resnet",
                                                    "num_classes": 3}))  # fmt: skip
    run(table, tmp_path / "out", task, source=str(source), strategy="probe", input_size=32)
    net = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    model = zooadapt.load(tmp_path / "out")
    with torch.inference_mode():
        x = torch.randn(2, 3, 32, 32)
        own = model.module.eval()(x)
        assert torch.equal(net(x), own)
    assert net.num_classes == len(model.classes)


@pytest.mark.parametrize("task", ["multilabel", "regression", "ordinal"])
def test_two_processes_give_the_result_of_one(table: Path, tmp_path: Path, task: str) -> None:
    words = [str(table), "--label-column", COLUMNS[task], "--task", task, "--strategy", "lp-ft",
             "--epochs", "2", "--batch-size", "16", "--precision", "fp32"]  # fmt: skip
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1",
                                "ZOOADAPT_CACHE": str(tmp_path / "cache")}  # fmt: skip
    alone = [sys.executable, "-m", "zooadapt", "adapt", "digits04", *words, "-o"]
    subprocess.run([*alone, str(tmp_path / "one")], check=True, env=environment,
                   capture_output=True)  # fmt: skip
    both = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes",
            "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--main_process_port", "0", "-m", "zooadapt", "adapt", "digits04", *words, "-o",
            str(tmp_path / "two")]  # fmt: skip
    done = subprocess.run(both, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-3, atol=1e-3)
