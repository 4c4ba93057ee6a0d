"""What is held out: a function of labels and seed, fair to every class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zooadapt.data import Dataset, hold_out, sample_per_class
from zooadapt.errors import DataError

from .make import image_folder, opened


def table(path: Path, rng: np.random.Generator) -> Dataset:
    """A set of two to nine classes of 2 to 60 rows, in random order."""
    counts = rng.integers(2, 60, rng.integers(2, 9))
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = [f"text {k},c{label}" for k, label in enumerate(labels)]
    path.write_text("\n".join(["text,label", *rows]))
    return opened(path, modality="text")


@pytest.mark.parametrize("seed", range(40))
def test_a_split_is_a_partition_and_stratified(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    train = table(tmp_path / "t.csv", rng).everything
    fraction = float(rng.uniform(0.02, 0.98))
    kept, held = hold_out(train, fraction, seed)
    assert sorted([*kept.ids, *held.ids]) == sorted(train.ids)
    texts = {name: (train.raw(k), train.labels[k]) for k, name in enumerate(train.ids)}
    for part in (kept, held):
        order = [int(name.split(":")[1]) for name in part.ids]
        assert order == sorted(order)
        assert [texts[name] for name in part.ids] == [
            (part.raw(k), part.labels[k]) for k in range(len(part))]  # fmt: skip
    for label, count in enumerate(np.bincount(train.labels)):
        out = int((held.labels == label).sum())
        assert 1 <= out <= count - 1
        assert abs(out - fraction * count) <= 1


def test_a_seed_says_which_samples_and_another_seed_says_others(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(1)).everything
    held = [list(hold_out(train, 0.3, seed)[1].ids) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_digests_go_with_their_samples(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(2)).everything
    fresh = [part.digests for part in hold_out(train, 0.4, 0)]
    known = dict(zip(train.ids, train.digests, strict=True))
    for part, digests in zip(hold_out(train, 0.4, 0), fresh, strict=True):
        assert digests == [known[name] for name in part.ids] == part.digests


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_so_many_labels_a_class(count: int, tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(3)).everything
    few = sample_per_class(train, count, 0)
    assert list(few.ids) == list(sample_per_class(train, count, 0).ids)
    wanted = np.minimum(np.bincount(train.labels), count)
    assert np.bincount(few.labels).tolist() == wanted.tolist()


def test_without_a_test_part_a_fifth_of_every_class_is_split_off(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 10, "bee": 25, "fly": 2})
    data = opened(root)
    assert not data.has_own_test and np.bincount(data.test.labels).tolist() == [2, 5, 1]
    assert any("8 samples were split off, stratified, by seed" in note for note in data.notes)
    assert data.fingerprint == opened(root).fingerprint


def test_a_lone_sample_stays_in_training_and_the_class_is_noted(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 10, "bee": 1})
    data = opened(root, allow_tiny=True)
    assert np.bincount(data.train.labels).tolist() == [8, 1]
    assert "1 classes have no test sample: 'bee'" in data.notes


def test_where_every_class_has_one_sample_nothing_can_be_held_out(tmp_path: Path) -> None:
    data = opened(image_folder(tmp_path / "set", {"ant": 1, "bee": 1}), allow_tiny=True)
    assert data.test is None and len(data.train) == 2
    with pytest.raises(DataError, match="a single training sample, so none can be held out"):
        hold_out(data.train, 0.2, 0)


def test_the_fingerprint_is_of_contents_and_labels_and_not_of_names(tmp_path: Path) -> None:
    for part in ("train", "test"):
        image_folder(tmp_path / "set" / part, first=len(part) * 10)
    before = opened(tmp_path / "set").fingerprint
    old = tmp_path / "set/train/ant/0.jpg"
    old.rename(old.with_name("renamed.jpg"))
    assert opened(tmp_path / "set").fingerprint == before
    old.with_name("renamed.jpg").rename(tmp_path / "set/train/bee/9.jpg")
    assert opened(tmp_path / "set").fingerprint != before
