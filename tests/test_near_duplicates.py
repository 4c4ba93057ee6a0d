"""Duplicates and near-duplicates: they are found, and no comparison of models profits by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zooadapt.data import open_dataset
from zooadapt.data.splits import hold_out
from zooadapt.heads import baselines, near_duplicates
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import metrics, of_classes
from zooadapt.training.config import Request
from zooadapt.training.head_fitter import HeadFitter
from zooadapt.workflows.adapt import adapt


def duplicates(x: torch.Tensor, modality: str = "image") -> dict[int, int]:
    digests = [b"%d" % k for k in range(len(x))]
    pairs = near_duplicates.near_equal(digests, lambda: iter(x.split(50)), modality)
    return {int(later): int(first) for later, first in pairs.items()}


@pytest.fixture
def rows() -> torch.Tensor:
    """Features of 300 samples in 200 directions of uneven variance."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(300, 200, generator=rng) * torch.linspace(4, 1, 200) + 3


def test_only_near_duplicates_are_found(rows: torch.Tensor) -> None:
    noise = torch.randn(40, 200, generator=torch.Generator().manual_seed(1))
    copies = rows[:40] + 0.4 * noise
    assert duplicates(rows) == {}
    assert duplicates(torch.cat([rows, copies])) == {300 + k: k for k in range(40)}
    assert duplicates(torch.cat([rows, copies]), "text") == {}  # a word may be another one
    assert duplicates(torch.cat([rows, rows[:3] + 1e-3]), "text") == {300: 0, 301: 1, 302: 2}


def test_a_chain_of_near_duplicates_is_one_cluster(rows: torch.Tensor) -> None:
    step = torch.randn(200, generator=torch.Generator().manual_seed(2)) * 0.75
    chain = torch.stack([rows[7] + number * step for number in (1, 2)])
    assert duplicates(torch.cat([rows, chain])) == {300: 7, 301: 7}


def test_features_of_few_directions_have_no_near_duplicates() -> None:
    few = torch.randn(300, 8, generator=torch.Generator().manual_seed(3))
    assert duplicates(few) == {} and duplicates(torch.ones(300, 64)) == {}
    assert duplicates(torch.full((30, 64), torch.nan)) == {}


def test_recompressed_and_resized_photos_are_near_duplicates(
    real_data: Path, tmp_path: Path
) -> None:
    """Twelve photos a class; the first two of each are recompressed or resized."""
    photos = sorted((real_data / "images/flowers5/train").glob("*/*.jpg"))
    for label in {path.parent.name for path in photos}:
        (tmp_path / "set" / label).mkdir(parents=True)
        for number, path in enumerate([p for p in photos if p.parent.name == label][:12]):
            picture = Image.open(path)
            picture.save(tmp_path / "set" / label / path.name, quality=92)
            if number < 2:
                size = tuple(round(side * (0.95 if number else 1)) for side in picture.size)
                picture.resize(size).save(tmp_path / "set" / label / f"again{number}.jpg")
    source = real_data / "weights/mobilenetv2_035.keras_in1k_headless"
    report = run(source, tmp_path, strategy="probe", input_size=96)
    (note,) = [note for note in report["notes"] if "left out together" in note]
    assert "nearly equal" in note
    assert 5 <= int(note.split()[0]) <= 10  # some are split off, as the test part


def run(source: object, place: Path, **options: Any) -> dict[str, Any]:
    request = Request(source=str(source), data=str(place / "set"), out=place / "out",
                      overwrite=True, **options)  # fmt: skip
    return adapt(request, Progress()).report


@pytest.fixture
def by_chance(tmp_path: Path) -> Path:
    """Pictures of noise with random labels, once and each five times."""
    for number in range(60):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16)).astype(np.uint8)
        for name, times in (("once", 1), ("five", 5)):
            folder = tmp_path / name / "set" / "train" / f"class{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            for copy in range(times):
                Image.fromarray(noise).save(folder / f"{number}_{copy}.png")
    for number in range(9):
        noise = np.random.default_rng(100 + number).integers(0, 255, (16, 16)).astype(np.uint8)
        for name in ("once", "five"):
            folder = tmp_path / name / "set" / "test" / f"class{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(folder / f"{number}.png")
    return tmp_path


def test_duplicates_do_not_inflate_leave_one_out(by_chance: Path) -> None:
    once, five = (
        run("digits04", by_chance / name, strategy="probe", precision="fp32")
        for name in ("once", "five")
    )
    assert five["val"]["n"] == 5 * once["val"]["n"] == 300
    assert five["val"]["accuracy"] < 0.55
    assert abs(five["val"]["accuracy"] - once["val"]["accuracy"]) < 0.1
    low, high = five["val"]["interval"]
    assert high - low > 0.9 * np.diff(once["val"]["interval"])[0]  # 60 pictures, not 300
    assert not any("left out together" in note for note in once["notes"])
    assert any(
        note.startswith("240 of 300 training samples are equal to another one")
        for note in five["notes"]
    )
    assert five["learning_curve"]["points"][-2]["accuracy"] < 0.6
    assert five["suspects"]["count"] == 0


def test_equal_contents_are_never_split(by_chance: Path) -> None:
    data = open_dataset(str(by_chance / "five/set"), modality="image", seed=0)
    first = dict.fromkeys(data.train.digests[:100], data.train.digests[0])
    contents = [first.get(digest, digest) for digest in data.train.digests]
    train, val = hold_out(data.train, 0.2, 0, contents)
    sides = [{first.get(d, d) for d in part.digests} for part in (train, val)]
    assert not sides[0] & sides[1] and len(train) + len(val) == 300


def test_duplicates_count_as_one_neighbour(by_chance: Path) -> None:
    """One of the three nearest samples has copies: all of them together have one vote."""
    split = open_dataset(str(by_chance / "five/set"), modality="image", seed=0).train
    layer, task = torch.nn.Linear(2, 3), of_classes("abc")
    fitter = HeadFitter(None, task, layer, lambda name: lambda: iter(()), {"train": split})
    once = fitter.distinct("train")
    assert len(once) == 60 == len({split.digests[k] for k in once.tolist()})
    angles, labels = torch.zeros(300), torch.from_numpy(split.labels)
    original = int(once[labels[once] == 0][0])  # of class 0, five times in the data
    angles[:] = 2.0
    angles[[k for k, one in enumerate(split.digests) if one == split.digests[original]]] = 0.01
    near = [int(k) for k in once[labels[once] == 1][:2]]
    angles[near] = 0.02
    features = torch.stack([angles.cos(), angles.sin()], 1)
    query = torch.tensor([[1.0, 0.0]])
    assert baselines.nearest(features, labels, query, of_classes("abc"), k=3).tolist() == [0]
    assert baselines.nearest(
        features[once], labels[once], query, of_classes("abc"), k=3
    ).tolist() == [1]


def test_intervals_count_distinct_samples() -> None:
    labels = np.arange(300) % 3
    predicted = np.where(np.arange(300) % 10 < 7, labels, (labels + 1) % 3)
    once = metrics.measure(predicted[:60], labels[:60], 3)
    repeated = metrics.measure(predicted, labels, 3, distinct=60)
    assert repeated.interval == once.interval and repeated.n == 300
