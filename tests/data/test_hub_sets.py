"""`hf:` data sets through the real `datasets` library, from a folder laid out as on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zooadapt.data import open_dataset
from zooadapt.errors import DataError

from .make import encoded, opened, photo
from .test_depth import grey, wide_png

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def publish(root: Path, **parts: Any) -> str:
    """The location of a data set, written as the Hub stores it."""
    for part, rows in parts.items():
        rows.to_parquet(root / "data" / f"{part}-00000-of-00001.parquet")
    return f"hf:{root}"


def texts(labels: list[int | None], names: list[str]) -> Any:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    rows = {"text": [f"text {k}" for k in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features=features)


def pictures(images: list[bytes | Path | None]) -> Any:
    """Images as the content or the path of a file."""
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": stored, "label": datasets.Value("int64")})
    rows = [
        {"bytes": None, "path": str(image)} if isinstance(image, Path)
        else image and {"bytes": image, "path": None}
        for image in images
    ]  # fmt: skip
    labels = [k % 2 for k in range(len(rows))]
    made = datasets.Dataset.from_dict({"image": rows, "label": labels}, features=features)
    return made.cast_column("image", datasets.Image(decode=False))


def test_labels_have_the_class_names_of_the_features(tmp_path: Path) -> None:
    train, test = texts([0, 1] * 4, ["no", "yes"]), texts([1, 0], ["no", "yes"])
    data = opened(publish(tmp_path, train=train, test=test), modality="text")
    assert data.classes == ("no", "yes") and data.has_own_test and len(data.train) == 8
    assert data.test.raw(0) == "text 0" and data.test.labels.tolist() == [1, 0]
    assert data.test.ids[1] == "test:2"


def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    location = publish(tmp_path, train=texts([0, 1, -1, 0, 1, None], ["no", "yes"]))
    with pytest.raises(DataError, match="2 rows of .* have no label: train:3, train:6"):
        opened(location, modality="text")
    assert len(opened(location, modality="text", drop_unlabelled=True).everything) == 4


def test_hub_images_are_decoded_like_files(tmp_path: Path) -> None:
    deep = np.full((9, 9), 32896, dtype=np.uint16)
    from PIL import Image

    images = [encoded(photo(k), "PNG") for k in range(5)]
    images.append(encoded(Image.fromarray(deep), "PNG"))
    data = opened(publish(tmp_path, train=pictures(images)))
    assert data.classes == ("0", "1")
    assert data.everything.raw(2).tobytes() == photo(2).tobytes()
    assert set(data.everything.raw(5).tobytes()) == {128}
    assert data.everything.size(2) == (24, 16) and data.everything.size(5) == (9, 9)


def test_images_of_twelve_bits_have_one_white(tmp_path: Path) -> None:
    images = [wide_png(grey(k, 12)) for k in range(5)] + [encoded(photo(9), "PNG")]
    data = opened(publish(tmp_path, train=pictures(images)))
    assert data.white == 4095
    assert "5 images of 16 bits a channel, in which 4095 is read as white" in data.notes
    actual = np.asarray(data.everything.raw(2, channels=1)).astype(int)
    assert np.abs(actual - grey(2, 8)).max() <= 1
    assert data.everything.raw(5).tobytes() == photo(9).tobytes()


@pytest.mark.parametrize("bad", [None, b"<html>", encoded(photo(9, (200, 200)), "JPEG")[:1500]])
def test_a_broken_or_missing_image_is_named(bad: bytes | None, tmp_path: Path) -> None:
    images: list[bytes | None] = [encoded(photo(k), "PNG") for k in range(6)]
    images[3] = bad
    with pytest.raises(DataError, match="'train:4' (has no image|is no image|is broken)"):
        data = open_dataset(publish(tmp_path, train=pictures(images)), modality="image")
        data.everything.raw(3)


def test_a_missing_train_split_or_column_is_refused(tmp_path: Path) -> None:
    location = publish(tmp_path / "a", test=texts([0, 1], ["no", "yes"]))
    with pytest.raises(DataError, match="no train split, its splits are test"):
        opened(location, modality="text")
    location = publish(tmp_path / "b", train=texts([0, 1] * 2, ["no", "yes"]))
    with pytest.raises(DataError, match="no column 'body', its columns are 'text', 'label'"):
        opened(location, modality="text", text_column="body")


def test_only_files_of_the_set_and_caches_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row can name any file here. The Hub's cache links to its folder of contents."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for folder in ("hub/blobs", "hub/snapshots", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hub/blobs/ab12").write_bytes(encoded(photo(1), "PNG"))
    (tmp_path / "mine/photo.png").write_bytes(encoded(photo(2), "PNG"))
    cached, linked = tmp_path / "hub/snapshots/1.png", tmp_path / "hub/snapshots/2.png"
    cached.symlink_to("../blobs/ab12")
    linked.symlink_to(tmp_path / "mine/photo.png")
    others = [encoded(photo(k), "PNG") for k in range(3, 6)]
    location = publish(tmp_path / "good", train=pictures([cached, *others]))
    assert opened(location).everything.raw(0).tobytes() == photo(1).tobytes()
    hostile = (tmp_path / "mine/photo.png", linked, Path("/dev/zero"),
               tmp_path / "hub/../mine/photo.png")  # fmt: skip
    for number, path in enumerate(hostile):
        location = publish(tmp_path / f"bad{number}", train=pictures([*others, path]))
        with pytest.raises(DataError, match="'train:4' is the file .*, which is no file of the"):
            opened(location)


def test_numbers_are_texts_and_lists_are_not(tmp_path: Path) -> None:
    rows = {"code": [7, 42, None, 9], "list": [[1]] * 4, "label": ["a", "b", "a", "b"]}
    location = publish(tmp_path, train=datasets.Dataset.from_dict(rows))
    data = opened(location, modality="text", text_column="code", allow_tiny=True)
    assert [data.everything.raw(k) for k in range(4)] == ["7", "42", "", "9"]
    with pytest.raises(DataError, match="column 'list' of .* holds no text"):
        opened(location, modality="text", text_column="list")


def test_two_text_columns_make_pairs(tmp_path: Path) -> None:
    rows = {"a": ["x", "y"] * 4, "b": ["1", None] * 4, "label": [0.0, 1.0] * 4}
    location = publish(tmp_path, train=datasets.Dataset.from_dict(rows))
    data = opened(location, modality="text", text_column="a,b")
    pair = data.everything.raw(1)
    assert (pair.first, pair.second, pair) == ("y", "", "y\n") and data.classes == ("0", "1")
    assert len(set(data.everything.digests)) == 2


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    train, test = texts([0, 1] * 4, ["no", "yes"]), texts([-1, -1, -1], ["no", "yes"])
    data = opened(publish(tmp_path, train=train, test=test, validation=train), modality="text")
    assert data.has_own_test and data.test.ids[0] == "validation:1"
    assert "the test part (3 samples) has no labels, so it is left out" in data.notes


def test_likely_columns_of_a_set_are_proposed(tmp_path: Path) -> None:
    rows = {"question": [f"why is {k} a number like that?" for k in range(8)], "topic": [0, 1] * 4}
    location = publish(tmp_path, train=datasets.Dataset.from_dict(rows))
    with pytest.raises(DataError, match="no column 'text', its columns are 'question', ") as caught:
        opened(location, modality="text")
    assert caught.value.options == ("--text-column", "question", "--label-column", "topic")
