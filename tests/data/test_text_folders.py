"""Text files, one text a file: class folders are a labelled set, other folders are inputs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from zooadapt.data import ReadOptions, open_inputs, open_samples
from zooadapt.errors import NotFoundError
from zooadapt.runtime.progress import Progress
from zooadapt.workflows import inference
from zooadapt.zoo import registry

from .make import csv_file, image_folder, opened, refused


def text_folder(root: Path, counts: Mapping[str, int], *, suffix: str = ".txt") -> Path:
    """Class folders of text files; no two texts are the same."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for k in range(count):
            text = f"{root.name} {label} {k}\nand more"
            (root / label / f"{k}_7{suffix}").write_text(text)
    return root


@pytest.mark.parametrize("suffix", [".txt", ""])
def test_class_folders_of_texts_are_a_labelled_set(suffix: str, tmp_path: Path) -> None:
    root = tmp_path / "imdb"
    text_folder(root / "train", {"neg": 3, "pos": 3, "unsup": 9}, suffix=suffix)
    text_folder(root / "test", {"neg": 2, "pos": 2}, suffix=suffix)
    (root / "imdb.vocab").write_text("and\n")
    (root / "train" / "labels.feat").write_bytes(b"\xff\0")
    data = opened(root, modality="text")
    assert data.classes == ("neg", "pos") and (len(data.train), len(data.test)) == (6, 4)
    assert data.train.raw(5) == "train pos 2\nand more"
    assert data.train.ids[5] == f"train/pos/2_7{suffix}"
    assert any(note.startswith("'train/unsup' is left out: by its name") for note in data.notes)
    data = opened(root / "test", modality="text")
    assert data.classes == ("neg", "pos") and not data.has_own_test


def test_encodings_and_gzip_of_text_files(tmp_path: Path) -> None:
    root = text_folder(tmp_path / "set", {"a": 2, "b": 2})
    (root / "a/0_7.txt").write_text("naïve", "utf-16")
    (root / "a/1_7.txt").write_text("plain", "utf-16")
    (root / "b/0_7.txt.gz").write_bytes(gzip.compress("zipped ü".encode()))
    (root / "b/0_7.txt").unlink()
    data = opened(root, modality="text")
    whole = data.everything
    assert [whole.raw(k) for k in range(3)] == ["naïve", "plain", "zipped ü"]
    assert any(note.startswith("a/0_7.txt is read as utf-16") for note in data.notes)
    assert any(note.endswith("and so is 1 more text") for note in data.notes)
    (root / "b/bad.txt").write_bytes("it’s".encode("cp1252"))
    error = refused(root, 65, "'b/bad.txt' is not utf-8: byte 2 is 0x92", modality="text")
    assert error.thing == "b/bad.txt" and error.options == ("--encoding", "cp1252")
    (root / "b/bad.txt").write_text("x" * 1_000_001)
    refused(root, 65, "'b/bad.txt' has a text of 1,000,001 characters", modality="text")


def test_class_folders_without_texts_are_refused(tmp_path: Path) -> None:
    refused(image_folder(tmp_path / "set"), 65, "'ant' holds no text, only 3 other files",
            modality="text")  # fmt: skip
    (tmp_path / "none" / "a").mkdir(parents=True)
    refused(tmp_path / "none", 66, "holds no class folder with texts", modality="text")


def test_tables_take_precedence_over_class_folders(tmp_path: Path) -> None:
    text_folder(tmp_path, {"a": 2, "b": 2})
    csv_file(tmp_path / "train.csv")
    assert opened(tmp_path, modality="text").everything.ids[0] == "train.csv:1"


def test_a_folder_of_texts_is_an_input(tmp_path: Path) -> None:
    root = text_folder(tmp_path / "new", {"x": 2})
    split = open_inputs([str(root), str(csv_file(tmp_path / "t.csv"))], modality="text")
    assert [split.raw(0), split.raw(2)] == ["new x 0\nand more", "one"]
    assert list(split.ids)[1:3] == [f"{root}/x/1_7.txt", "t.csv:1"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no input in"):
        open_inputs([str(tmp_path / "empty")], modality="text")


@pytest.mark.parametrize("kind", ["flat", "csv", "txt", "folder"])
def test_unlabelled_sets_have_labels_of_minus_one(kind: str, tmp_path: Path) -> None:
    modality = "image" if kind == "flat" else "text"
    if kind == "flat":
        place = image_folder(tmp_path / "set", {"ant": 3}) / "ant"
    elif kind == "folder":
        place = text_folder(tmp_path / "set", {"x": 3}) / "x"
    elif kind == "csv":
        (place := tmp_path / "t.csv").write_text("id,text\n1,a\n2,b\n3,c\n")
    else:
        (place := tmp_path / "t.txt").write_text("a\nb\nc\n")
    split, task = open_samples(str(place), modality=modality, options=ReadOptions())
    assert task is None and split.labels.tolist() == [-1, -1, -1] and len(set(split.ids)) == 3


@pytest.mark.parametrize("modality", ["image", "text"])
def test_features_of_samples_without_labels(modality: str, tmp_path: Path) -> None:
    if modality == "image":
        source, flat = "digits04", image_folder(tmp_path / "set", {"ant": 3}) / "ant"
    else:
        source = next(name for name, (of, _) in registry.bundled().items() if of == "rnn")
        (flat := tmp_path / "t.txt").write_text("a\nb\nc\n")
    out, settings = tmp_path / "f.safetensors", inference.Settings(cache_gb=0, precision="fp32")
    shapes = inference.features(source, str(flat), out, settings, Progress())
    assert shapes.keys() == {"features"} == load_file(out).keys() and shapes["features"][0] == 3
    beside = json.loads((tmp_path / "f.json").read_text())
    assert beside["classes"] == [] and len(beside["samples"]) == 3
