"""Models put to use: texts that are typed, probabilities, lists of samples."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from zooadapt.cli import root
from zooadapt.data import ReadOptions
from zooadapt.errors import NotFoundError, OutputError, UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt

SETTINGS = inference.Settings(cache_gb=0)
CLASSES = ("=small", "large", "mixed")


def letters(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Texts in small, large and mixed letters, some of which begin like a formula."""
    kinds = ("abcdefgh", "ABCDEFGH", "aBcDeFgH")
    texts = ["".join(rng.choice(list(kinds[k % 3]), 10)) for k in range(count)]
    return [(f"={text}" if k % 7 == 0 else text, CLASSES[k % 3]) for k, text in enumerate(texts)]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A table without a test part, an export of it with another seed than 0, and its report."""
    folder = tmp_path_factory.mktemp("words")
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *letters(90, np.random.default_rng(0))])
    request = Request(source="english", data=str(folder / "t.csv"), out=folder / "out",
                      strategy="probe", seed=3)  # fmt: skip
    return folder / "t.csv", folder / "out", adapt(request, Progress()).report


def test_evaluate_splits_by_groups_as_adapt_does(tmp_path: Path) -> None:
    """Groups of different sizes: without the column another number of samples is split off."""
    rows = [(f"{text}{n}", label, f"group {k}")
            for k, (text, label) in enumerate(letters(24, np.random.default_rng(1)))
            for n in range(9 if k % 3 else 2)]  # fmt: skip
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "of"), *rows])
    request = Request(source="english", data=str(tmp_path / "t.csv"), out=tmp_path / "out",
                      strategy="probe", reading=ReadOptions(group_column="of"))  # fmt: skip
    test = adapt(request, Progress()).report["test"]
    command = ["evaluate", str(tmp_path / "out"), str(tmp_path / "t.csv"), "--split", "test",
               "--json"]  # fmt: skip
    grouped, plain = (
        json.loads(CliRunner().invoke(root, [*command, *more]).stdout)
        for more in (["--group-column", "of"], [])
    )
    assert (grouped["n"], grouped["accuracy"]) == (test["n"], test["accuracy"])
    assert plain["n"] != test["n"]


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_text_is_taken_as_it_is_typed(words: tuple[Path, Path, Any], tmp_path: Path) -> None:
    _, model, _ = words
    command = [sys.executable, "-m", "zooadapt", "predict", str(model), "who WROTE it?", "HAMLET",
               "--csv", str(tmp_path / "p.csv")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("text 1\t") and first.endswith("\twho WROTE it?")
    assert second.split("\t")[1] == "large" and last == f"{tmp_path / 'p.csv'} lists them"
    assert "there is no file 'HAMLET', so it is read as a text" in done.stderr
    rows = listed(tmp_path / "p.csv")
    assert [row["text"] for row in rows] == ["who WROTE it?", "HAMLET"]
    for row in rows:
        each = [float(row[f"probability of {name}"]) for name in CLASSES]
        assert sum(each) == pytest.approx(1, abs=2e-4)
        assert float(row["probability"]) == max(each)
    done = subprocess.run([*command[:6], "--top", "2", "--json"], capture_output=True, text=True)
    (one,) = json.loads(done.stdout)["predictions"]
    assert one["text"] == "who WROTE it?" and len(one["probabilities"]) == 2
    assert max(one["probabilities"].values()) == one["probability"]


@pytest.mark.parametrize("name", ["no/such-place", "missing.csv", "missing.txt", "a b.jsonl.gz"])
def test_a_path_that_is_not_there_is_no_text(words: tuple[Path, Path, Any], name: str) -> None:
    with pytest.raises(NotFoundError):
        inference.predict(str(words[1]), [name], SETTINGS, Progress())


def test_the_next_labels_are_columns_of_a_short_list(
    words: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    each = inference.predict(str(words[1]), ["abc", "ABC"], SETTINGS, Progress(), top=2,
                        listing=tmp_path / "p.csv")  # fmt: skip
    assert [len(one.probabilities) for one in each] == [2, 2]
    first, _ = listed(tmp_path / "p.csv")
    assert list(first) == ["input", "text", "label", "probability", "label 2", "probability 2"]
    assert first["label"] == "'=small" and float(first["probability"]) > float(
        first["probability 2"]
    )


def test_a_list_says_which_samples_of_the_test_part_are_wrong(
    words: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    data, model, report = words
    metrics, task = inference.evaluate(str(model), str(data), SETTINGS, Progress(), part="test",
                                    listing=tmp_path / "e.csv")  # fmt: skip
    assert metrics.n == report["test"]["n"] == 18 and task.outputs == CLASSES
    assert metrics.accuracy == report["test"]["accuracy"]
    rows, texts = listed(tmp_path / "e.csv"), [row["text"] for row in listed(data)]
    assert len(rows) == 18 and {row["truth"] for row in rows} == {"'=small", "large", "mixed"}
    for row in rows:
        text = texts[int(row["input"].split(":")[1]) - 1]
        assert row["text"] == (f"'{text}" if text.startswith("=") else text)
        assert row["correct"] == ("yes" if row["truth"] == row["label"] else "no")
    right = sum(row["correct"] == "yes" for row in rows)
    assert right == round(metrics.accuracy * metrics.n)


def test_a_part_is_chosen_by_name(words: tuple[Path, Path, Any]) -> None:
    data, model, _ = words
    counts = {
        part: inference.evaluate(str(model), str(data), SETTINGS, Progress(), part=part)[0].n
        for part in ("train", "test", "all", None)
    }
    assert counts == {"train": 72, "test": 18, "all": 90, None: 90}
    with pytest.raises(UsageError, match="no val part"):
        inference.evaluate(str(model), str(data), SETTINGS, Progress(), part="val")


def test_a_list_takes_the_place_of_an_earlier_one_alone(
    words: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    place = tmp_path / "p.csv"
    for _ in range(2):
        inference.predict(str(words[1]), ["abc"], SETTINGS, Progress(), listing=place)
    place.write_text("text,label\n")
    with pytest.raises(OutputError, match="is not a list that this command wrote"):
        inference.predict("no-such-model", ["abc"], SETTINGS, Progress(), listing=place)
    assert place.read_text() == "text,label\n"


def test_pictures_have_no_text(pictures: Path, tmp_path: Path) -> None:
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out", strategy="probe")
    adapt(request, Progress())
    (one,) = inference.predict(str(tmp_path / "out"), [str(pictures / "class0/0.png")], SETTINGS,
                         Progress(), listing=tmp_path / "p.csv")  # fmt: skip
    assert one.text is None and set(one.probabilities) == {"class0", "class1", "class2"}
    assert listed(tmp_path / "p.csv")[0]["text"] == ""
    with pytest.raises(NotFoundError):
        inference.predict(str(tmp_path / "out"), ["a picture of a cat"], SETTINGS, Progress())
