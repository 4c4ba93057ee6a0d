"""A run of two processes, launched as users launch it, against one process: the same head, the same
weights, one export, and an end of all when one fails."""

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

from zooadapt.runtime.model_files import write_weights

SAME = 1e-4
"""Largest distance between two tensors as a share of their norm, or of 1 if that is less. Sums
differ in their order alone, which AdamW amplifies where a gradient is close to zero."""

RUNS: dict[str, dict[str, Any]] = {
    "probe": {"data": "tiles", "strategy": "probe"},
    "full": {"data": "tiles", "strategy": "full", "epochs": 3, "imbalance": "weights"},
    "sampler": {"data": "tiles", "strategy": "full", "epochs": 2, "imbalance": "sampler",
                "optimizer": "sgd"},
    "hosts": {"data": "tiles", "strategy": "from:stages.3", "epochs": 2, "augment": "none"},
    "text": {"data": "lines", "strategy": "lp-ft", "epochs": 3, "batch_size": 16, "lr": 1e-2},
    "ones": {"data": "lines", "strategy": "lp-ft", "epochs": 1, "batch_size": 1, "lr": 1e-2},
    "norms": {"data": "tiles", "strategy": "full", "epochs": 1, "batch_size": 24,
              "norm_statistics": "train"},
}  # fmt: skip

FEATURES = ["features", "digits04", "tiles", "--at", "stages.2", "--batch-size", "64",
            "--precision", "fp32", "-o"]  # fmt: skip

DRIVER = """
import json, os, sys
from pathlib import Path
from zooadapt.cli import main
codes, rank = [], int(os.environ.get("RANK", 0))
for arguments, caches in json.loads(sys.argv[1]):
    sys.argv = ["zooadapt", *(word.format(rank=rank) for word in arguments)]
    os.environ["ZOOADAPT_CACHE"] = caches[rank]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code)
Path(f"codes{rank}.json").write_text(json.dumps(codes))
"""


def launch(*command: object, folder: Path) -> subprocess.CompletedProcess:
    """Two processes, with a timeout far below that of one for the other."""
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
         "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
         "--main_process_port", "0", *map(str, command)],
        capture_output=True, text=True, cwd=folder, timeout=300,
        env=os.environ | {"ACCELERATE_USE_CPU": "1"},
    )  # fmt: skip


def command(name: str, out: str) -> list[str]:
    options = dict(RUNS[name])
    data = options.pop("data")
    words = ["adapt", "digits04" if data == "tiles" else "rnn", data, "-o", f"{out}/{name}"]
    for option, value in (options | {"precision": "fp32"}).items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images, lines of unequal length, and a network for the lines."""
    folder, rng = tmp_path_factory.mktemp("processes"), np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 7)):
        for label in range(3):
            (folder / "tiles" / part / str(label)).mkdir(parents=True)
            for k in range(count + label):
                pixels = rng.integers(0, 80, (8, 8)) + 60 * (np.indices((8, 8))[label % 2] % 3)
                image = Image.fromarray((pixels + 30 * (label == 2)).clip(0, 255).astype(np.uint8))
                image.save(folder / f"tiles/{part}/{label}/{k}.png")
    (folder / "lines").mkdir()
    for part, count in (("train", 41), ("test", 9)):
        with (folder / "lines" / f"{part}.csv").open("w", newline="") as file:
            rows = [("text", "label")]
            for k in range(count):
                letters = rng.choice(list("abcd efgh" if k % 2 else "fghi jklm"), 3 + 2 * k)
                rows.append((f"{k}" + "".join(letters), "early" if k % 2 else "late"))
            csv.writer(file).writerows(rows)
    config = {"architecture": "char_rnn", "cell": "lstm", "unit": "char", "vocab_size": 15,
              "vocab": {letter: row for row, letter in enumerate("abcdefghijklm ")},
              "embedding_dim": 8, "hidden_size": 8, "num_layers": 2, "unknown": 14}  # fmt: skip
    from zooadapt_rnn import RnnFamily

    torch.manual_seed(0)
    (folder / "rnn").mkdir()
    (folder / "rnn/config.json").write_text(json.dumps(config))
    state = RnnFamily().build(config, 2).state_dict()
    write_weights(folder / "rnn/model.safetensors", state)
    return folder


@pytest.fixture(scope="module")
def one(folder: Path) -> None:
    """Every run by one process."""
    commands = [(command(name, "one"), ["cache of one"]) for name in RUNS]
    commands.append(([*FEATURES, "one/features.safetensors"], ["cache of one"]))
    (folder / "driver.py").write_text(DRIVER)
    subprocess.run([sys.executable, "driver.py", json.dumps(commands)], cwd=folder, check=True,
                   env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip


@pytest.fixture(scope="module")
def two(folder: Path, one: None) -> subprocess.CompletedProcess:
    """Every run by two processes, with a shared cache or, for `hosts`, one each. At the end the
    output of the second process alone is impossible."""
    commands = [
        (command(name, "two"), ["cache", "cache of its own" if name == "hosts" else "cache"])
        for name in RUNS
    ]
    commands.append(([*FEATURES, "two/features.safetensors"], ["cache", "cache"]))
    (folder / "failed1").touch()
    commands.append(([*FEATURES, "failed{rank}/features.safetensors"], ["cache", "cache"]))
    return launch("driver.py", json.dumps(commands), folder=folder)


@pytest.mark.parametrize("name", sorted(RUNS.keys() - {"norms"}))
def test_two_processes_give_the_result_of_one(
    folder: Path, two: subprocess.CompletedProcess, name: str
) -> None:
    assert (folder / "two" / name).is_dir(), two.stderr
    alone, report = (
        json.loads((folder / run / name / "report.json").read_text()) for run in ("one", "two")
    )
    assert report["plan"]["phases"] == alone["plan"]["phases"]
    note = (
        "activations at freeze point 4 are not in the cache of every process: they are computed in "
        "every epoch"
    )
    assert (note in report["notes"]) == (name == "hosts")
    assert [e["val_accuracy"] for e in report["epochs"]] == pytest.approx(
        [e["val_accuracy"] for e in alone["epochs"]])  # fmt: skip
    assert [e["train_loss"] for e in report["epochs"]] == pytest.approx(
        [e["train_loss"] for e in alone["epochs"]], rel=1e-4)  # fmt: skip
    assert report["best_epoch"] == alone["best_epoch"]
    assert report["test"].keys() == alone["test"].keys()
    for key, value in report["test"].items():
        assert value == pytest.approx(alone["test"][key], rel=1e-3), key
    if report["strategy"] == "full":
        assert report["best_epoch"] > 0, "what was trained has to be what is compared"
    first, second = (load_file(folder / run / name / "model.safetensors") for run in ("one", "two"))
    for key, tensor in first.items():
        gap = (tensor.double() - second[key].double()).norm() / tensor.double().norm().clamp_min(1)
        assert gap <= SAME, f"{key} differs by {gap:.1e}"
    if name == "text":
        assert report["data"]["samples"]["train"] % 16 == 1, "one sample is to be left over"


def test_a_shard_is_large_enough_for_norm_layers(
    folder: Path, two: subprocess.CompletedProcess
) -> None:
    alone, report = (
        json.loads((folder / run / "norms" / "report.json").read_text()) for run in ("one", "two")
    )
    assert report["data"]["samples"]["train"] % 24 == 3, "the last batch is to be of three samples"
    assert report["steps"] == alone["steps"] == 3


def test_one_process_prints_and_writes(folder: Path, two: subprocess.CompletedProcess) -> None:
    assert two.stderr.count("plan: ") == len(RUNS)
    assert two.stdout.count("model: two/") == len(RUNS)
    assert two.stdout.count("labels (87,)") == 1
    assert sorted(path.name for path in (folder / "two").iterdir()) == sorted(
        [*RUNS, "features.json", "features.safetensors"])  # fmt: skip
    first, second = (load_file(folder / run / "features.safetensors") for run in ("one", "two"))
    assert first.keys() == second.keys() and len(second["labels"]) == 87
    for name, rows in first.items():
        torch.testing.assert_close(second[name], rows, rtol=SAME, atol=SAME)


def test_a_failure_in_one_process_ends_all(folder: Path, two: subprocess.CompletedProcess) -> None:
    codes = [json.loads((folder / f"codes{rank}.json").read_text()) for rank in (0, 1)]
    assert [code[:-1] for code in codes] == [[0] * (len(RUNS) + 1)] * 2
    assert [code[-1] for code in codes] == [71, 73]
    assert "process 1: error: " in two.stderr and "another process of this run" in two.stderr


def test_bad_input_ends_both_with_its_exit_code(folder: Path) -> None:
    done = launch("-m", "zooadapt", "adapt", "rnn", "lines", "-o", "bad", "--label-column", "mood",
                  folder=folder)  # fmt: skip
    assert done.returncode != 0 and not (folder / "bad").exists()
    assert "error: " in done.stderr and "'mood'" in done.stderr
    assert "exitcode  : 65" in done.stderr and "exitcode  : 1 " not in done.stderr
