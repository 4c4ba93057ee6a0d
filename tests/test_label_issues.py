"""Label issues: planted ones are flagged, dropped or relabelled, and listed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from zooadapt.errors import OutputError
from zooadapt.heads import fitting
from zooadapt.runtime import csv_output
from zooadapt.tasks import label_issues
from zooadapt.tasks.classification import Classification


def planted(seed: int, *, n: int = 400, distance: float = 1.2):
    """Four clouds, the labels they were made with, and those after a tenth was changed."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 10)) * distance
    labels = rng.integers(4, size=n)
    x = torch.from_numpy(centres[labels] + rng.normal(size=(n, 10))).float()
    wrong = rng.random(n) < 0.1
    noisy = np.where(wrong, (labels + rng.integers(1, 4, n)) % 4, labels)
    return x, labels, noisy


def flagged(x: torch.Tensor, noisy: np.ndarray) -> label_issues.LabelIssues:
    fit = fitting.fit_head(lambda: iter([x]), torch.from_numpy(noisy), Classification.of(4))
    return label_issues.find(fit.held_out_outputs(len(noisy), Classification.of(4)), noisy)


@pytest.mark.parametrize("seed", range(5))
def test_planted_label_noise_is_flagged(seed: int) -> None:
    x, labels, noisy = planted(seed)
    issues = flagged(x, noisy)
    wrong = noisy != labels
    hit = wrong[issues.index]
    assert hit.sum() >= 0.6 * wrong.sum() and hit.mean() > 0.7
    assert (issues.likelier[hit] == labels[issues.index][hit]).mean() > 0.95
    assert (np.diff(issues.score) <= 0).all() and (issues.score > 0.5).all()
    assert hit[: len(hit) // 2].mean() >= hit[len(hit) // 2 :].mean()
    assert (issues.given == noisy[issues.index]).all()


def test_easy_clean_labels_have_no_issues() -> None:
    x, labels, _ = planted(7, distance=4.0)
    assert len(flagged(x, labels)) == 0


def test_a_class_without_samples_flags_nothing() -> None:
    probabilities = np.array([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7], [0.9, 0.05, 0.05]])
    assert len(label_issues.find(probabilities, np.array([0, 0, 0]))) == 0


@pytest.mark.parametrize(
    ("right", "labels", "reliable"),
    [
        (0.455, np.arange(400) % 5, False),
        (0.70, np.arange(400) % 5, True),
        (0.52, np.arange(400) % 2, False),  # a coin
        (0.70, np.arange(400) % 2, True),
        (0.90, np.arange(400) // 360, False),  # always the most frequent class
    ],
)
def test_an_inaccurate_head_flags_nothing(right: float, labels: np.ndarray, reliable: bool) -> None:
    classes = labels.max() + 1
    wrong = np.linspace(0, 1, len(labels), endpoint=False) >= right
    answers = np.where(wrong, (labels + 1) % classes, labels)
    probabilities = np.full((len(labels), classes), 0.1 / (classes - 1))
    probabilities[np.arange(len(labels)), answers] = 0.9
    issues = label_issues.find(probabilities, labels)
    assert issues.reliable is reliable
    assert len(issues) == (wrong.sum() if reliable else 0) and issues.of == 400


def test_drop_and_relabel_leave_half_of_every_class() -> None:
    probabilities = np.array([[0.05, 0.95]] * 3 + [[0.9, 0.1]] + [[0.05, 0.95]] * 6)
    probabilities = np.tile(probabilities, (20, 1))
    labels = np.tile([0, 0, 0, 0, 1, 1, 1, 1, 1, 0], 20)
    issues = label_issues.find(probabilities, labels)
    assert {index % 10 for index in issues.index.tolist()} == {0, 1, 2, 9}
    assert len(issues) == 80
    targets, used, changed = label_issues.apply(issues, labels, label_issues.DROP)
    assert targets == labels.tolist() and changed == 50 and sum(used) == 150
    targets, used, changed = label_issues.apply(issues, labels, label_issues.RELABEL)
    assert all(used) and changed == (np.array(targets) != labels).sum() == 50
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0] * 20


def test_formulas_are_written_as_text() -> None:
    issues = label_issues.LabelIssues(
        index=np.array([1, 0]),
        given=np.array([0, 1]),
        likelier=np.array([1, 0]),
        score=np.array([0.9, 0.7]),
        of=2,
        names=["=cmd|' /C calc'!A0", "-2"],
    )
    rows = label_issues.rows(issues, ['+1, "x".jpg', "@b"], ["=HYPERLINK(1)", None])
    text = csv_output.text(label_issues.COLUMNS, rows)
    assert list(csv.reader(io.StringIO(text))) == [
        ["sample", "given", "likelier", "score", "text"],
        ["'@b", "'=cmd|' /C calc'!A0", "'-2", "0.9000", ""],
        ['\'+1, "x".jpg', "'-2", "'=cmd|' /C calc'!A0", "0.7000", "'=HYPERLINK(1)"],
    ]


def test_a_list_overwrites_only_an_earlier_list(tmp_path: Path) -> None:
    place = tmp_path / "list.csv"
    label_issues.check_place(place)
    csv_output.write(place, label_issues.COLUMNS, [])
    label_issues.check_place(place)
    place.write_text("sample,given,likelier,score\n")  # of an older version
    label_issues.check_place(place)
    place.write_text("text,label\nsample,given\n")
    with pytest.raises(OutputError, match="is not a list that this command wrote"):
        label_issues.check_place(place)
    assert place.read_text().startswith("text,label")
