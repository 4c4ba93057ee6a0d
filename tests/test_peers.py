"""The benchmark of peers: common scores, one contract, and a reason where a peer has no answer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module")
def scores() -> Any:
    return _module("peer_scores")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Texts of two classes with a word that tells the class, three rows of each to test, beside
    half-precision weights of one tensor."""
    folder = tmp_path / "data" / "text" / "sms_spam"
    folder.mkdir(parents=True)
    for part, count in (("train", 12), ("test", 3)):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for label, word in (("ham", "lunch"), ("spam", "prize")):
                writer.writerows([f"{word} number {k}", label] for k in range(count))
    weights = tmp_path / "data" / "weights" / "all_minilm_l6_v2.st_fp16"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    save_file({"w": np.ones(2, np.float16)}, weights / "model.safetensors")
    return tmp_path / "data"


def test_scores_have_their_textbook_values(scores: Any) -> None:
    numbers = np.array([1.0, 2.0, 3.0, 6.0])
    guesses = np.array([[1.0], [2.0], [4.0], [5.0]])
    assert scores.r2(numbers, guesses) == pytest.approx(1 - 2 / 14)
    assert scores.pearson(numbers, guesses) == pytest.approx(
        np.corrcoef(numbers, guesses[:, 0])[0, 1]
    )
    assert scores.pearson(numbers, np.ones((4, 1))) == 0
    assert scores.absolute_error(numbers, guesses) == 0.5
    # The second guess lies below every target and counts as the smallest, 1.
    assert scores.log_r2(np.array([1.0, np.e]), np.array([[1.0], [-5.0]])) == pytest.approx(-1.0)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    assert scores.accuracy(np.array([0, 1, 1]), probabilities) == pytest.approx(2 / 3)
    # First label: its two positives come 1st and 3rd: (1 + 2/3) / 2. The second never occurs.
    labels = np.array([[1, 0], [1, 0], [0, 0]])
    assert scores.mean_average_precision(labels, probabilities) == pytest.approx(5 / 6)


def test_a_difference_is_paired(scores: Any) -> None:
    """Two sides that differ in 20 of 100 rows, always for the better: the interval of the paired
    difference leaves 0 out, though those of the two accuracies overlap."""
    targets = np.zeros(100, int)
    better = np.eye(2)[[0] * 70 + [1] * 30]
    worse = np.eye(2)[[0] * 60 + [1] * 40]
    gap, (low, high) = scores.difference(scores.accuracy, targets, better, worse)
    assert gap == pytest.approx(0.1) and 0 < low < 0.1 < high
    ends = [scores.interval(scores.accuracy, targets, rows) for rows in (worse, better)]
    assert ends[0][1] > ends[1][0]


def test_sides_are_scored_on_one_test_part_and_run_once(data: Path, tmp_path: Path) -> None:
    """A side that has no environment is a row with that reason."""
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, BENCHMARKS / "peers.py", data, "--data", "sms_spam", "--out", out]
    command += ["--peers", "TF-IDF|SetFit", "--environments", tmp_path / "none", "--seconds", "30"]
    tables = [
        subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    rows = {row["side"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert list(rows) == ["SetFit", "TF-IDF"] and tables[0] == tables[1]
    words = rows["TF-IDF"]
    assert len(words["predictions"]) == 6 and words["cpu"] > 0 and words["peak"] > 0
    reason = f"no environment {tmp_path}/none/common/bin/python"
    assert rows["SetFit"]["unable"] == reason
    assert "| sms_spam, n 6 | accuracy |" in tables[0]
    assert "| TF-IDF | 1.000 (0.610 to 1.000) |" in tables[0]
    assert f"| SetFit | {reason} |" in tables[0]


def test_a_peer_never_sees_test_targets(data: Path, tmp_path: Path) -> None:
    tasks, job = _module("peer_tasks"), _module("peer/job")
    task = tasks.TASKS["sms_spam"]
    train, test, names = tasks.read(data, task)
    few = tasks.sample(train, 2, 0)
    assert np.bincount(few.targets).tolist() == [2, 2]
    folder = tmp_path / "job"
    folder.mkdir()
    tasks.write_job(
        folder, task=task, train=few, test=test, names=names, seed=0, seconds=5.0, input_size=None,
        weights=data / "weights" / "all_minilm_l6_v2.st_fp16",
    )  # fmt: skip
    assert set(json.loads((folder / "job.json").read_text())) == {
        "task", "modality", "names", "weights", "seed", "seconds", "input_size", "train",
        "targets", "test",
    }  # fmt: skip
    loaded = job.load(folder)
    assert loaded.names == ["ham", "spam"] and len(loaded.test) == 6 and len(loaded.targets) == 4
    tensor = tasks.load_file(loaded.weights / "model.safetensors")["w"]
    assert tensor.dtype == np.float32 and tensor.tolist() == [1.0, 1.0]
    fit, validate = job.held_out(loaded, share=0.5)
    assert sorted(fit + validate) == [0, 1, 2, 3]
    assert sorted(loaded.targets[k] for k in validate) == [0, 1]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("raise Unable('no such task')", {"unable": "no such task"}),
        ("raise KeyError('gone')", {"failed": "KeyError: 'gone'"}),
        ("print('noise'); return [[job.seconds]]", {"predictions": [[3.0]]}),
    ],
)
def test_a_peer_answers_one_line_whatever_happens(
    tmp_path: Path, body: str, outcome: dict[str, Any]
) -> None:
    fields = {
        "task": "regression", "modality": "text", "names": ["y"], "weights": "w", "seed": 0,
        "seconds": 3.0, "input_size": None, "train": ["a"], "targets": [1.0], "test": ["b"],
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(fields))
    script = tmp_path / "script.py"
    script.write_text(
        f"from job import Unable, run\ndef predict(job):\n    {body}\n\nrun(predict)\n"
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={"PYTHONPATH": str(BENCHMARKS / "peer")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == outcome


def _module(name: str) -> Any:
    """A module of the benchmarks, which import each other by their names alone."""
    path = BENCHMARKS / name
    sys.path.insert(0, str(path.parent))
    try:
        return import_module(path.name)
    finally:
        sys.path.remove(str(path.parent))
