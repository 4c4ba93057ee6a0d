"""The bag-of-words baseline: its accuracy, and the advice of a run whose model it beats."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union

from zooadapt.family import TextPair
from zooadapt.heads import text_baseline
from zooadapt.heads.bag_of_words import Predictor
from zooadapt.heads.learning_curve import Point, extrapolate
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.tasks.metrics import compare, measure
from zooadapt.training.config import Request
from zooadapt.workflows import advice
from zooadapt.workflows.adapt import adapt

KEYS = ("vorn plim hask drof", "snel quib mizz tarn", "yolp cruv fent wabb")
"""Words, of which each text of a class has one."""


@pytest.fixture(scope="module")
def keywords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of seven random words and one that gives the class away, which a recurrent network of
    characters cannot recognise."""
    folder, rng = tmp_path_factory.mktemp("keywords"), np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    noise = ["".join(rng.choice(letters, 4)) for _ in range(300)]
    for part, count in (("train", 150), ("test", 90)):
        rows = []
        for k in range(count):
            words = [*rng.choice(noise, 7), rng.choice(KEYS[k % 3].split())]
            rows.append((" ".join(rng.permutation(words)), f"c{k % 3}"))
        write(folder / f"{part}.csv", rows)
    return folder


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def run(data: Path, out: Path, **options: Any) -> dict[str, Any]:
    request = Request(source="english", data=str(data), out=out, **options)
    return adapt(request, Progress()).report


def test_a_run_reports_a_baseline_that_beats_its_model(keywords: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zooadapt", "adapt", "english", str(keywords)]
    command += ["-o", str(tmp_path / "out"), "--strategy", "probe"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())

    texts, labels = read(keywords / "train.csv")
    plain = make_pipeline(
        make_union(
            TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(
                analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, lowercase=False
            ),
        ),
        OneVsRestClassifier(LogisticRegression(C=30, solver="liblinear")),
    ).fit(texts, labels)
    expected = plain.score(*read(keywords / "test.csv"))
    assert expected > 0.95 and report["test"]["accuracy"] < 0.6
    assert report["test_baselines"]["tfidf"]["accuracy"] == pytest.approx(expected, abs=0.012)
    assert report["test_baselines"]["tfidf"]["n"] == 90

    folds = report["baselines"]["tfidf"]
    assert folds["n"] == report["val"]["n"] == 150 and folds["how"] == "5-fold"
    assert folds["accuracy"] > 0.8
    (one,) = (one for one in report["comparisons"] if one["name"] == "tfidf")
    assert one["told_apart"] and one["worse"] > one["better"] and one["n"] == 150

    assert report["beaten_by"]["name"] == "tfidf"
    sentence = report["beaten_by"]["sentence"]
    assert "TF-IDF of words and characters with logistic regression beats this model" in sentence
    assert f"about {folds['accuracy']:.3f} of" in sentence and "try a stronger source" in sentence
    assert f"note: {sentence}" in done.stdout
    card = (tmp_path / "out/README.md").read_text()
    assert "beats this model" in card and f"| {folds['accuracy']:.3f} (" in card


def test_the_baseline_shares_the_models_held_out_part(keywords: Path, tmp_path: Path) -> None:
    report = run(keywords, tmp_path / "out", strategy="lp-ft", epochs=1)
    assert report["baselines"]["tfidf"]["how"] == "held out"
    assert report["baselines"]["tfidf"]["n"] == report["val"]["n"] == 30
    assert report["test_baselines"]["tfidf"]["accuracy"] > 0.95


def test_an_equally_good_baseline_does_not_beat_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    words = [("".join(rng.choice(list("abcdef" if k % 2 else "uvwxyz"), 8)), f"c{k % 2}")
             for k in range(80)]  # fmt: skip
    write(tmp_path / "t.csv", words)
    report = run(tmp_path / "t.csv", tmp_path / "out", strategy="probe")
    assert report["beaten_by"] is None and report["baselines"]["tfidf"]["accuracy"] > 0.95
    assert not any("beats" in note for note in report["notes"])


def test_copies_of_a_text_share_a_fold(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("abcdefghijklmnop"), 12)) for _ in range(40)]
    labels = rng.permutation(np.arange(40) % 2)
    write(tmp_path / "train.csv", [(t, f"c{k}") for t, k in zip(texts, labels, strict=True)] * 4)
    write(tmp_path / "test.csv", [("abc", "c0"), ("def", "c1")])
    report = run(tmp_path, tmp_path / "out", strategy="probe")
    assert (
        report["baselines"]["tfidf"]["n"] == 160 and report["baselines"]["tfidf"]["accuracy"] < 0.75
    )


def test_a_sample_represents_a_large_part(
    keywords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_baseline, "MOST_SIZE", 3000)
    report = run(keywords, tmp_path / "out", strategy="probe")
    scores = report["baselines"]["tfidf"]
    assert 70 <= scores["n"] <= 80  # 40 characters each
    assert [one["n"] for one in report["comparisons"] if one["name"] == "tfidf"] == [scores["n"]]
    note = f"tfidf used a stratified sample of the train part, {scores['n']} of 150 samples"
    assert note in report["notes"]


def test_a_note_names_the_package_of_a_missing_baseline(
    keywords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tuple(
        replace(baseline, needs="no_such_module") for baseline in text_baseline.BASELINES
    )
    monkeypatch.setattr(text_baseline, "BASELINES", absent)
    report = run(keywords, tmp_path / "out", strategy="probe")
    assert "tfidf" not in report["baselines"] and report["test_baselines"] == {}
    assert any(note.endswith("pip install scikit-learn") for note in report["notes"])


def test_images_have_no_bag_of_words(pictures: Path, tmp_path: Path) -> None:
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out", strategy="probe")
    report = adapt(request, Progress()).report
    assert set(report["baselines"]) == {"majority"} and report["beaten_by"] is None


def test_the_texts_of_pairs_are_counted_separately() -> None:
    """The first text has the same words as the second, which alone gives the class away."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pairs = [TextPair(f"{'xy'[rng.integers(2)]}q", f"{'xy'[k]}q") for k in labels]
    train, test = np.arange(80), np.arange(80, 120)
    (predicted,) = Predictor(pairs).predict(of_classes("ab"), labels, [(train, test)])
    assert (predicted == labels[test]).all()


@pytest.mark.parametrize("texts", [["", " ", "\n"] * 4, ["same"] * 12])
def test_uninformative_texts_get_the_most_frequent_class(texts: list[str]) -> None:
    labels = np.array([0, 1, 1] * 4)
    (predicted, untrained) = Predictor(texts).predict(
        of_classes("ab"), labels, [(np.arange(9), np.arange(9, 12)), (np.arange(0), np.arange(2))]
    )
    assert predicted.tolist() == [1, 1, 1] and len(untrained) == 2


def result(baseline: np.ndarray, model: np.ndarray) -> text_baseline.BaselineResult:
    truth = np.zeros(len(baseline), dtype=int)
    return text_baseline.BaselineResult(
        baseline=text_baseline.BASELINES[0],
        metrics={"val": measure(baseline, truth, 2)},
        comparisons={"val": compare("tfidf", model != truth, baseline != truth)},
        how="held out",
        sampled={},
    )


def test_advice_names_a_source_and_a_number_of_labels() -> None:
    """The error halves with four times the labels: .4 becomes .2 with three times as many more, and
    .02 with four hundred times, which is beyond extrapolation."""
    model = np.arange(100) % 5 < 2
    points = [Point(samples=n, accuracy=1 - 8 / n**0.5, n=10**6) for n in (100, 200, 400)]
    for errors, words in ((20, "label about 1,200 more samples"), (2, "more labels will not do")):
        baseline = np.arange(100) < errors
        lost = advice.defeat(
            [result(baseline.astype(int), model.astype(int))],
            {"val": measure(model.astype(int), np.zeros(100, dtype=int), 2)},
            task=of_classes("ab"),
            metric="accuracy",
            curve=extrapolate(points),
            samples=400,
            stronger=["org/larger"],
        )
        assert lost is not None and "such as org/larger" in lost.sentence and words in lost.sentence
    few = [Point(samples=10 * 2**k, accuracy=0.6, n=20) for k in range(3)]
    lost = advice.defeat(
        [result((np.arange(100) < 20).astype(int), model.astype(int))],
        {"val": measure(model.astype(int), np.zeros(100, dtype=int), 2)},
        task=of_classes("ab"),
        metric="accuracy",
        curve=extrapolate(few),  # level, and of so few that it may as well rise
        samples=40,
        stronger=[],
    )
    assert lost is not None and "whether more labels would do cannot be told" in lost.sentence
    assert not advice.defeat(
        [result(model.astype(int), model.astype(int))],
        {"val": measure(model.astype(int), np.zeros(100, dtype=int), 2)},
        task=of_classes("ab"),
        metric="accuracy",
        curve=None,
        samples=400,
        stronger=[],
    )
