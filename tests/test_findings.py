"""The findings of a run beside its scores, on texts with known label issues."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zooadapt.cli.adapt import _lines
from zooadapt.data import ReadOptions
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt

CLASSES = ("=1+1", "lower", "upper")
"""The first is what a spreadsheet would compute."""
WORDS = {
    "=1+1": "0123456789",
    "lower": "abcdefghijklm",
    "upper": "ABCDEFGHIJKLM",
}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "zooadapt", *map(str, arguments)], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return done


def write(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Texts of digits, small and large letters by sixty authors of four; the ids of twelve training
    texts whose label was changed."""
    folder, rng = tmp_path_factory.mktemp("letters"), np.random.default_rng(0)
    wrong = {int(k) for k in rng.choice(240, 12, replace=False)}
    for part, count in (("train", 240), ("test", 60)):
        rows = []
        for k in range(count):
            label = k % 3
            text = "".join(rng.choice(list(WORDS[CLASSES[label]]), 12))
            if part == "train" and k in wrong:
                label = (label + 1) % 3
            rows.append((text, CLASSES[label], f"{part} {k // 4}"))
        write(folder / f"{part}.csv", rows, ("text", "label", "author"))
    return folder, {f"train.csv:{k + 1}" for k in wrong}


@pytest.fixture(scope="module")
def source(real_data: Path) -> Path:
    return real_data / "weights/charlstm_darwin.ml5"


def run(source: Path, data: Path, out: Path, **options: Any) -> dict[str, Any]:
    request = Request(source=str(source), data=str(data), out=out, **options)
    return adapt(request, Progress()).report


def test_label_issues_are_listed_and_never_exported(
    source: Path, letters: tuple[Path, set[str]], tmp_path: Path
) -> None:
    data, wrong = letters
    done = command("adapt", source, data, "-o", tmp_path / "out", "--strategy", "probe",
                   "--suspects", tmp_path / "suspects.csv", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["suspects_file"] == str(tmp_path / "suspects.csv")
    rows = list(csv.DictReader((tmp_path / "suspects.csv").open()))
    flagged = {row["sample"] for row in rows}
    assert len(flagged & wrong) >= 9 and len(flagged - wrong) <= 3
    assert report["suspects"] == {
        "count": len(rows), "of": 240, "treatment": "keep", "changed": 0,
        "reliable": True}  # fmt: skip
    assert {row["given"] for row in rows} == {"'=1+1", "lower", "upper"}
    assert all(0.5 < float(row["score"]) <= 1 for row in rows)
    texts = [row["text"] for row in csv.DictReader((data / "train.csv").open())]
    assert all(row["text"] == texts[int(row["sample"].split(":")[1]) - 1] for row in rows)
    assert "suspects_file" not in json.loads((tmp_path / "out/report.json").read_text())
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(names) == [
        "README.md", "config.json", "model.safetensors", "report.html", "report.json"]  # fmt: skip
    for name in ("README.md", "config.json", "report.json"):
        assert "train.csv:" not in (tmp_path / "out" / name).read_text()
    assert 220 / 240 < report["val"]["accuracy"] < 230 / 240
    assert {"ece", "ece_by_chance", "macro_f1_interval"} <= report["val"].keys()
    majority, tfidf = report["comparisons"]
    assert majority["name"] == "majority" and majority["told_apart"]
    assert tfidf["name"] == "tfidf" and tfidf["n"] == 240 and report["beaten_by"] is None
    config = json.loads((tmp_path / "out/config.json").read_text())["zooadapt"]
    assert config["temperature"]["in_weights"] and config["temperature"]["value"] > 0
    assert config["scores"]["test"]["ece"] == report["test"]["ece"]


@pytest.mark.parametrize(
    ("option", "strategy"),
    [("drop", "probe"), ("relabel", "probe"), ("drop", "lp-ft"), ("relabel", "auto")],
)
def test_scores_use_the_labels_of_the_data(
    source: Path, letters: tuple[Path, set[str]], tmp_path: Path, option: str, strategy: str
) -> None:
    report = run(source, letters[0], tmp_path / "out", strategy=strategy,
               epochs=None if strategy == "probe" else 1,
               **{f"{option}_suspects": True})  # fmt: skip
    issues = report["suspects"]
    assert issues["treatment"] == option and issues["of"] == 240
    assert 6 <= issues["changed"] <= issues["count"] <= 14
    assert any(note.startswith("validation scores are optimistic") for note in report["notes"])
    if strategy == "probe":  # every planted label still counts as an error
        assert report["val"]["n"] == 240
        assert 220 / 240 < report["val"]["accuracy"] < 230 / 240
        assert 220 / 240 < report["baselines"]["tfidf"]["accuracy"] < 230 / 240
    assert report["test"]["n"] == 60 and report["test"]["accuracy"] > 0.9


def test_no_group_is_in_two_folds(
    source: Path, letters: tuple[Path, set[str]], tmp_path: Path
) -> None:
    options = {"strategy": "probe", "reading": ReadOptions(group_column="author")}
    report = run(source, letters[0], tmp_path / "a", **options)
    assert report["plan"]["val"] == "leave-one-group-out"
    assert report["val"]["n"] == 240 and report["val"]["accuracy"] > 0.9
    report = run(source, letters[0], tmp_path / "b", strategy="probe", folds=4)
    assert report["plan"]["val"] == "4-fold, 3 times"


def by_chance() -> list[tuple[int, str, str]]:
    """Forty random texts with random labels."""
    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("abcdefghijklmnop"), 12)) for _ in range(40)]
    labels = rng.permutation(np.arange(40) % 2)
    return [
        (k, text, f"c{label}") for k, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]


def test_equal_texts_are_never_split(source: Path, tmp_path: Path) -> None:
    """Neither by a test part, nor by a validation part, nor by a fold."""
    rows = [(text, label) for _, text, label in by_chance() for _ in range(8)]
    write(tmp_path / "t.csv", rows, ("text", "label"))
    for folds in (5, None):
        out = tmp_path / f"{folds} folds"
        report = run(source, tmp_path / "t.csv", out, strategy="probe", folds=folds)
        assert report["val"]["accuracy"] < 0.75 and report["test"]["accuracy"] < 0.85
    report = run(source, tmp_path / "t.csv", tmp_path / "held", strategy="lp-ft", epochs=1)
    assert report["baselines"]["knn"]["accuracy"] < 0.85


def test_groups_of_near_copies_do_not_inflate_scores(source: Path, tmp_path: Path) -> None:
    """Eight near copies of each text with a random label: without groups, leave-one-out is right
    about them."""
    rows = [(f"{text}{n}", label, f"g{k}") for k, text, label in by_chance() for n in range(8)]
    write(tmp_path / "t.csv", rows, ("text", "label", "of"))
    accuracy = {}
    for column in (None, "of"):
        options = ReadOptions(group_column=column)
        for strategy, key in (("probe", "val"), ("lp-ft", "baselines")):
            report = run(source, tmp_path / "t.csv", tmp_path / f"{column} {strategy}",
                         strategy=strategy, epochs=None if strategy == "probe" else 1,
                         reading=options)  # fmt: skip
            scores = report[key] if key == "val" else report[key]["knn"]
            accuracy[column, strategy] = scores["accuracy"]
    assert accuracy[None, "probe"] > 0.95 and accuracy[None, "lp-ft"] > 0.95
    assert accuracy["of", "probe"] < 0.75 and accuracy["of", "lp-ft"] < 0.85


@pytest.mark.parametrize(
    ("count", "reliable", "place", "lines"),
    [
        (1, True, None, ["1 of 9 labels may be wrong; --suspects FILE.csv lists them"]),
        (1, True, "s.csv", [
            "s.csv lists 1 label that may be wrong, the most suspicious first; its score is 0.5 "
            "if the likelier class is as probable as the label, and 1 if it is certain",
            "1 of 9 labels may be wrong; training used them as they are",
        ]),
        (0, True, None, []),
        (0, True, "s.csv", ["no label seems wrong, so s.csv lists none"]),
        (0, False, None, ["the head is too inaccurate to flag label errors"]),
    ],
)  # fmt: skip
def test_a_run_summarises_its_label_issues(
    count: int, reliable: bool, place: str | None, lines: list
) -> None:
    suspects = {"count": count, "of": 9, "treatment": "keep", "changed": 0, "reliable": reliable}
    report = dict.fromkeys(("stopped", "learning_curve", "conclusion", "chosen_from"))
    report |= {"notes": [], "comparisons": [], "suspects": suspects}
    report |= {"suspects_file": place} if place else {}
    assert _lines(report) == lines


def test_a_run_reports_differences_that_are_not_significant(source: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [("".join(rng.choice(list("abcdefgh"), 10)), f"c{k % 2}") for k in range(60)]
    write(tmp_path / "t.csv", rows, ("text", "label"))
    done = command("adapt", source, tmp_path / "t.csv", "-o", tmp_path / "out",
                   "--strategy", "probe", "--why", "--suspects", tmp_path / "s.csv")  # fmt: skip
    assert done.returncode == 0
    assert "the model and majority are right about the same samples, 48 compared" in done.stdout
    assert "majority │ leave-one-out" in done.stdout
    none = f"the head is too inaccurate to flag label errors, so {tmp_path / 's.csv'} lists none"
    assert none in done.stdout and "its score is" not in done.stdout
    assert "labels may be wrong" not in done.stdout and (tmp_path / "s.csv").exists()
    assert (done.stdout + done.stderr).count("each class has 24 training samples") == 1
    assert "note: no test part: 12 samples were split off" in done.stdout


def test_balanced_accuracy_weights_imbalanced_classes(source: Path, tmp_path: Path) -> None:
    rows = [(f"{'ab'[k < 20] * 3}{k}", f"c{k < 20}") for k in range(60)]
    write(tmp_path / "t.csv", rows, ("text", "label"))
    for metric, treatment in (("accuracy", "none"), ("balanced-accuracy", "weights")):
        report = run(source, tmp_path / "t.csv", tmp_path / "out", metric=metric, plan_only=True)
        assert report["plan"]["recipe"]["imbalance"] == treatment


def test_strategy_full_has_no_probe_among_its_baselines(
    source: Path, letters: tuple[Path, set[str]], tmp_path: Path
) -> None:
    report = run(source, letters[0], tmp_path / "out", strategy="full", epochs=1)
    assert set(report["baselines"]) == {"majority", "tfidf"}
    assert report["baselines"]["majority"]["n"] == report["val"]["n"]


def test_predictions_below_the_threshold_are_unknown(
    source: Path, letters: tuple[Path, set[str]], tmp_path: Path
) -> None:
    run(source, letters[0], tmp_path / "out", strategy="probe")
    (tmp_path / "in.txt").write_text("abcabcmlkjih\na1A2b3B4c5C6\n")
    predict = ("predict", tmp_path / "out", tmp_path / "in.txt", "--json")
    plain = json.loads(command(*predict).stdout)["predictions"]
    sure, unsure = (one["probability"] for one in plain)
    assert plain[0]["label"] == "lower" and unsure < sure
    done = command(*predict, "--reject-below", (sure + unsure) / 2)
    rejecting = json.loads(done.stdout)["predictions"]
    assert [one["label"] for one in rejecting] == ["lower", "unknown"]
    assert [one["probability"] for one in rejecting] == [sure, unsure]
    assert rejecting[0].keys() == {"input", "text", "label", "probability", "probabilities"}
    assert command(*predict, "--reject-below", "nan").returncode == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strategy", "full", "--drop-suspects"], "--drop-suspects needs a head fitted"),
        (["--from-scratch", "--suspects", "s.csv"], "--suspects needs a head fitted"),
        (["--drop-suspects", "--relabel-suspects"], "contradict each other"),
        (["--suspects", "out/suspects.csv"], "lies in the output folder"),
        (["--folds", "1"], "--folds 1 must be a number from 2"),
    ],
)
def test_contradicting_options_are_refused_first(
    options: list[str], words: str, tmp_path: Path
) -> None:
    done = command("adapt", "no-source", "no-data", "-o", "out", *options)
    assert done.returncode == 2 and words in done.stderr


def test_folds_need_as_many_groups(source: Path, tmp_path: Path) -> None:
    rows = [(f"text {k}", f"c{k % 2}", f"g{k % 3}") for k in range(30)]
    write(tmp_path / "train.csv", rows, ("text", "label", "by"))
    write(tmp_path / "test.csv", rows[:6], ("text", "label", "by"))
    done = command("adapt", source, tmp_path, "-o", tmp_path / "out", "--strategy", "probe",
                   "--group-column", "by", "--folds", "4")  # fmt: skip
    assert done.returncode == 65 and "3 groups of training samples" in done.stderr
