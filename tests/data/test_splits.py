"""Splits: stratified, and functions of labels, groups and seed alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from zooadapt.data import Dataset, Split, hold_out, sample_per_class
from zooadapt.data.splits import assign_parts, divide, merge_groups, stratify
from zooadapt.errors import DataError

from .make import image_folder, opened, refused


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
    rest, held_out = hold_out(train, fraction, seed)
    assert sorted([*rest.ids, *held_out.ids]) == sorted(train.ids)
    texts = {name: (train.raw(k), train.labels[k]) for k, name in enumerate(train.ids)}
    for part in (rest, held_out):
        order = [int(name.split(":")[1]) for name in part.ids]
        assert order == sorted(order)
        assert [texts[name] for name in part.ids] == [
            (part.raw(k), part.labels[k]) for k in range(len(part))]  # fmt: skip
    for label, count in enumerate(np.bincount(train.labels)):
        out = int((held_out.labels == label).sum())
        assert 1 <= out <= count - 1
        assert abs(out - fraction * count) <= 1


def test_the_seed_determines_the_split(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(1)).everything
    drawn = [list(hold_out(train, 0.3, seed)[1].ids) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_digests_follow_their_samples(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(2)).everything
    fresh = [part.digests for part in hold_out(train, 0.4, 0)]
    known = dict(zip(train.ids, train.digests, strict=True))
    for part, digests in zip(hold_out(train, 0.4, 0), fresh, strict=True):
        assert digests == [known[name] for name in part.ids] == part.digests


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_sample_per_class_limits_every_class(count: int, tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", np.random.default_rng(3)).everything
    few = sample_per_class(train, count, 0)
    assert list(few.ids) == list(sample_per_class(train, count, 0).ids)
    expected = np.minimum(np.bincount(train.labels), count)
    assert np.bincount(few.labels).tolist() == expected.tolist()


def test_a_missing_test_part_is_a_stratified_fifth(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 10, "bee": 25, "fly": 2})
    data = opened(root)
    assert not data.has_own_test and np.bincount(data.test.labels).tolist() == [2, 5, 1]
    assert any("8 samples were split off, stratified, by seed" in note for note in data.notes)
    assert data.fingerprint == opened(root).fingerprint


def test_a_single_sample_stays_in_training(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 10, "bee": 1})
    data = opened(root, allow_tiny=True)
    assert np.bincount(data.train.labels).tolist() == [8, 1]
    assert "1 class has no test sample: 'bee'" in data.notes


def test_classes_of_one_sample_allow_no_held_out_part(tmp_path: Path) -> None:
    data = opened(image_folder(tmp_path / "set", {"ant": 1, "bee": 1}), allow_tiny=True)
    assert data.test is None and len(data.train) == 2
    with pytest.raises(DataError, match="a single training sample, so none can be held out"):
        hold_out(data.train, 0.2, 0)


def test_the_fingerprint_ignores_file_names(tmp_path: Path) -> None:
    for part in ("train", "test"):
        image_folder(tmp_path / "set" / part, first=len(part) * 10)
    before = opened(tmp_path / "set").fingerprint
    old = tmp_path / "set/train/ant/0.jpg"
    old.rename(old.with_name("renamed.jpg"))
    assert opened(tmp_path / "set").fingerprint == before
    old.with_name("renamed.jpg").rename(tmp_path / "set/train/bee/9.jpg")
    assert opened(tmp_path / "set").fingerprint != before


def grouped(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Labels and groups of one to nine rows, some of one class, some of several."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, rng.integers(12, 120))
    groups = np.repeat(rng.permutation(len(sizes)), sizes)
    usual = rng.integers(3, size=len(sizes))[groups]
    labels = np.where(rng.random(len(groups)) < 0.7, usual, rng.integers(3, size=len(groups)))
    order = rng.permutation(len(groups))
    return labels[order], groups[order], rng


@pytest.mark.parametrize("seed", range(30))
def test_groups_are_never_split(seed: int) -> None:
    labels, groups, rng = grouped(seed)
    shares = rng.dirichlet(np.full(int(rng.integers(2, 6)), 5.0))
    part = assign_parts(labels, shares, seed, groups)
    assert np.array_equal(part, assign_parts(labels, shares, seed, groups))
    assert all(len(np.unique(part[groups == group])) == 1 for group in np.unique(groups))
    for label in range(3):
        count = np.bincount(part[labels == label], minlength=len(shares))
        assert np.abs(count - shares * (labels == label).sum()).max() <= 9
    rest, held_out = stratify(labels, 0.2, seed, groups)
    assert not set(groups[rest]) & set(groups[held_out]) and len(rest) + len(held_out) == len(
        labels
    )
    assert set(labels[rest]) == set(labels)
    assert len(held_out) == pytest.approx(0.2 * len(labels), abs=12)


@pytest.mark.parametrize("seed", range(10))
def test_parts_are_stratified(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, shares = rng.integers(4, size=203), rng.dirichlet(np.full(4, 5.0))
    part = assign_parts(labels, shares, seed)
    for label in range(4):
        count = np.bincount(part[labels == label], minlength=4)
        assert np.abs(count - shares * (labels == label).sum()).max() <= 1


def test_a_class_of_one_group_stays_in_training() -> None:
    labels = np.repeat([0, 1, 2], [30, 30, 10])
    groups = np.r_[np.arange(60) // 3, np.full(10, 99)]
    for seed in range(10):
        rest, held_out = stratify(labels, 0.9, seed, groups)
        assert 2 in labels[rest] and len(held_out)


def contents_of(split: Split) -> set[bytes]:
    return set(split.digests)


@pytest.mark.parametrize("seed", range(10))
def test_equal_samples_are_never_split(seed: int, tmp_path: Path) -> None:
    """Neither by the test part, with --strict too, nor by the held-out part. Equal samples may have
    different labels, and no class is lost."""
    rng = np.random.default_rng(seed)
    names = [*range(60), *rng.integers(0, 60, 40), 97, 98]
    labels = [*(k % 3 for k in range(60)), *rng.integers(0, 3, 40), 2, 2]
    rows = [f"text {name},c{label}" for name, label in zip(names, labels, strict=True)]
    rows += [f"text {k},rare" for k in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    data = opened(tmp_path / "t.csv", modality="text", strict=True)
    rest, held_out = hold_out(data.train, 0.2, seed)
    assert not contents_of(data.train) & contents_of(data.test) and len(data.test) > 8
    assert not contents_of(rest) & contents_of(held_out) and len(held_out) > 8
    assert set(rest.labels) == set(data.train.labels) == {0, 1, 2, 3}


def test_strict_splits_by_pixels(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 5, "bee": 5})
    for label in ("ant", "bee"):
        for number in range(5):
            with Image.open(root / label / f"{number}.jpg") as image:
                image.save(root / label / f"again{number}.png")
    assert len(opened(root, strict=True).test) == 4


@pytest.mark.parametrize("seed", range(20))
def test_labels_and_seed_alone_determine_a_split(seed: int, tmp_path: Path) -> None:
    split = table(tmp_path / "t.csv", np.random.default_rng(seed)).everything
    parts = divide(split, 0.3, seed), stratify(split.labels, 0.3, seed)
    assert all(np.array_equal(one, other) for one, other in zip(*parts, strict=True))
    data = opened(group_table(tmp_path / "g.csv"), modality="text", group_column="author")
    split = data.everything
    parts = divide(split, 0.3, seed), stratify(split.labels, 0.3, seed, split.groups)
    assert all(np.array_equal(one, other) for one, other in zip(*parts, strict=True))
    assert merge_groups(None, split.digests) is None
    assert merge_groups(split.groups, split.digests) is split.groups


def test_groups_with_a_common_sample_are_merged(tmp_path: Path) -> None:
    contents = [b"a", b"b", b"c", b"b", b"d", b"e"]
    merged = merge_groups(np.array([7, 7, 3, 3, 5, 5]), contents)
    assert merged.tolist() == [merged[0]] * 4 + [merged[4]] * 2 and merged[0] != merged[4]
    assert merge_groups(None, contents).tolist() == [0, 1, 2, 1, 4, 5]


def group_table(path: Path, *, own_test: bool = False) -> Path:
    """Forty authors of five rows each, the texts of an author alike."""
    rows = [(f"text {k} by {k // 5}", f"c{k // 5 % 2}", f"author {k // 5}") for k in range(200)]
    rows = [",".join(row) for row in rows]
    if not own_test:
        path.write_text("\n".join(["text,label,author", *rows]))
        return path
    path.mkdir()
    for name, part in (("train", rows[:152]), ("test", rows[152:])):
        (path / f"{name}.csv").write_text("\n".join(["text,label,author", *part]))
    return path


def test_the_split_off_test_part_never_splits_groups(tmp_path: Path) -> None:
    location = group_table(tmp_path / "t.csv")
    data = opened(location, modality="text", group_column="author")
    train, test = set(data.train.groups), set(data.test.groups)
    assert not train & test and len(train | test) == 40 and len(data.test) == 40
    assert any("groups whole" in note for note in data.notes)
    rest, held_out = hold_out(data.train, 0.2, 0)
    assert not set(rest.groups) & set(held_out.groups) and len(held_out) == pytest.approx(32, abs=5)


def test_a_group_in_both_parts_is_noted(tmp_path: Path) -> None:
    location = group_table(tmp_path / "set", own_test=True)
    data = opened(location, modality="text", group_column="author")
    note = "3 test samples are of a group that is in the training part too"
    assert note in data.notes
    refused(location, 65, note, modality="text", group_column="author", strict=True)


def test_a_row_without_a_group_is_its_own_group(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label,by\n" + "".join(f"t{k},c{k % 2},\n" for k in range(20)))
    data = opened(path, modality="text", group_column="by")
    assert len(set(data.everything.groups)) == 20
    assert any("20 rows have no group" in note for note in data.notes)


def test_a_missing_group_column_is_refused(tmp_path: Path) -> None:
    location = group_table(tmp_path / "t.csv")
    error = refused(location, 65, "has no column 'writer'", modality="text", group_column="writer")
    assert "--group-column" in error.remedy
    folder = image_folder(tmp_path / "set", {"ant": 4, "bee": 4})
    refused(folder, 2, "folder of images has no column", group_column="author")


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_groups_are_read_from_every_kind_of_table(name: str, tmp_path: Path) -> None:
    rows = [{"text": f"t{k}", "label": f"c{k % 2}", "by": k // 4} for k in range(40)]
    if name.endswith("jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    data = opened(tmp_path / name, modality="text", group_column="by")
    assert np.bincount(data.everything.groups).tolist() == [4] * 10
