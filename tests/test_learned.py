"""An export adapted to samples that it has learned: told, and no figure is taken from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zooadapt.cli.adapt import _only_learned
from zooadapt.data import hold_out
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import inference, learned_samples
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.inputs import open_inputs
from zooadapt.zoo.sources import open_source

SETTINGS = inference.Settings(precision="fp32", cache_gb=0)


def photos(folder: Path, numbers: range) -> str:
    """Pictures of two classes, with a fifth of the numbers as a test part."""
    for label in range(2):
        for number in numbers:
            rng = np.random.default_rng((label, number))
            slope = np.rot90(np.tile(np.linspace(0, 120, 16), (16, 1)), label)
            pixels = (slope + rng.normal(60, 60, (16, 16))).clip(0, 255).astype(np.uint8)
            part = folder / ("test" if number % 5 == 0 else "train") / f"class{label}"
            part.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(part / f"{number}.png")
    return str(folder)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned numbers 1 to 19 of each class, but for those of the test part."""
    place = tmp_path_factory.mktemp("learned")
    run(place / "model", "digits04", photos(place / "photos", range(20)))
    return place / "model"


def run(out: Path, source: object, data: str, **options: object) -> dict:
    request = Request(
        source=str(source), data=data, out=out, strategy="probe", cache_gb=0, **options
    )
    return adapt(request, Progress()).report


def test_a_first_run_has_learned_nothing_before_and_says_what_it_learned(export: Path) -> None:
    data = json.loads((export / "report.json").read_text())["data"]
    assert data["learned_before"] == {"train": 0}
    known = learned_samples.of_source(open_source(str(export)))
    assert len(known) == 32 and {len(one) for one in known} == {8}


def test_the_same_samples_again_are_told_and_give_no_validation(
    export: Path, tmp_path: Path
) -> None:
    report = run(tmp_path / "out", export, str(export.parent / "photos"))
    assert any("has learned all 32 training samples before" in note for note in report["notes"])
    assert report["test"]["n"] == 8  # which it has not learned
    assert _only_learned(report)
    assert report["suspects"] is None and report["learning_curve"] is None
    assert report["comparisons"] == [] and report["conclusion"] is None
    card = (tmp_path / "out/README.md").read_text()
    assert "| test |" in card and "| validation" not in card


def test_figures_are_of_the_samples_that_are_new(export: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "out", export, photos(tmp_path / "more", range(10, 40)))
    assert report["data"]["samples"]["train"] == 48
    assert report["data"]["learned_before"] == {"train": 16}
    assert report["val"]["n"] == 32 == report["baselines"]["majority"]["n"]
    assert any("has learned 16 of 48 training samples" in note for note in report["notes"])
    assert not _only_learned(report)
    known = learned_samples.of_source(open_source(str(tmp_path / "out")))
    assert len(known) == 32 + 32


def test_what_is_held_out_is_new_to_the_source(export: Path, tmp_path: Path) -> None:
    opened = open_inputs(
        Request(
            source=str(export), data=photos(tmp_path / "more", range(10, 40)), out=tmp_path / "out"
        ),
        Progress(),
    )
    train, val = hold_out(opened.data.train, 0.25, seed=0)
    assert (len(train), len(val)) == (40, 8)
    assert not val.learned.any() and train.learned.sum() == 16
    assert not {*train.digests} & {*val.digests}
    nothing_new = opened.data.train.subset(np.flatnonzero(opened.data.train.learned))
    assert len(hold_out(nothing_new, 0.25, seed=0)[1]) == 4


def test_test_samples_that_it_learned_are_left_out(export: Path, tmp_path: Path) -> None:
    place = photos(tmp_path / "moved", range(20, 40))
    for label in range(2):
        shutil.copy(
            export.parent / f"photos/train/class{label}/1.png",
            tmp_path / f"moved/test/class{label}/old.png",
        )
    report = run(tmp_path / "out", export, place)
    assert report["test"]["n"] == 8 and report["data"]["learned_before"] == {"train": 0}
    assert any("learned 2 test samples of 10 before" in note for note in report["notes"])


def test_what_was_published_knows_its_data_by_the_fingerprint(export: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    shutil.copytree(export, published)
    (published / "report.json").unlink()
    options = {"source": str(published), "out": tmp_path / "out", "strategy": "probe"}
    same = open_inputs(Request(data=str(export.parent / "photos"), **options), Progress())
    assert same.data.train.learned.all() and "has learned all 32" in " ".join(same.data.notes)
    other = open_inputs(
        Request(data=photos(tmp_path / "other", range(20, 40)), **options), Progress()
    )
    assert not other.data.train.learned.any() and other.data.notes == ()


def test_samples_that_labels_per_class_left_out_were_not_learned(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", range(20))
    run(tmp_path / "few", "digits04", data, labels_per_class=5)
    report = run(tmp_path / "out", tmp_path / "few", data)
    assert report["data"]["learned_before"] == {"train": 10} and report["val"]["n"] == 22
    assert any("has learned 10 of 32 training samples" in note for note in report["notes"])
    again = run(tmp_path / "again", tmp_path / "few", data, labels_per_class=5)
    assert any("has learned all 10 training samples" in note for note in again["notes"])


def test_figures_on_samples_that_a_model_learned_are_noted(export: Path, tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(Progress):
        def say(self, line: str) -> None:
            notes.append(line)

    def evaluated(part: str) -> list[str]:
        notes.clear()
        inference.evaluate(str(export), str(export.parent / "photos"), SETTINGS, Notes(), part=part)
        return notes

    assert evaluated("test") == []
    (note,) = evaluated("all")
    assert note.startswith("note: 'model' has learned 32 of these 40 samples")


@pytest.mark.parametrize("report", ["", "[]", '{"data": {"learned": "?"}}', '{"data": [1]}'])
def test_a_report_that_says_nothing_of_use_is_none(
    export: Path, tmp_path: Path, report: str
) -> None:
    shutil.copytree(export, tmp_path / "odd")
    (tmp_path / "odd/report.json").write_text(report)
    assert learned_samples.of_source(open_source(str(tmp_path / "odd"))) == frozenset()
