"""Layouts of folders: parts, classes, and data sets in subfolders."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from zooadapt.data import ReadOptions, open_dataset
from zooadapt.errors import UsageError

from .make import csv_file, encoded, image_folder, opened, photo, refused

LABELS = ("ant", "bee")


def with_parts(root: Path, train: str, test: str) -> Path:
    """Six training images and four test images, in these folders of class folders."""
    image_folder(root / train)
    image_folder(root / test, {"ant": 2, "bee": 2}, first=50)
    return root


def flat(folder: Path, *, first: int = 80) -> Path:
    """Three images without a class."""
    return image_folder(folder.parent, {folder.name: 3}, first=first)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_images", "test_images"),
        ("Train", "Dev"),
        ("my train 2019", "my val 2019"),
        ("train/images", "test/images"),
        ("split_1_training", "split_2_testing"),
    ],
)
def test_parts_are_recognised_by_words_in_names(train: str, test: str, tmp_path: Path) -> None:
    data = opened(with_parts(tmp_path / "set", train, test))
    assert (data.classes, len(data.train), len(data.test)) == (LABELS, 6, 4)
    assert data.has_own_test and data.train.ids[0] == f"{train}/ant/0.jpg"


def test_a_flat_test_folder_is_no_class(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set" / "train_images").parent
    flat(root / "test_images")
    data = opened(root)
    assert data.classes == LABELS and len(data.everything) == 6
    assert "3 images outside class folders left out" in data.notes


def test_other_folders_beside_the_parts_are_noted(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "seg_train/seg_train", "seg_test/seg_test")
    flat(root / "seg_pred" / "seg_pred")
    notes = opened(root).notes
    assert "1 folder beside seg_train (seg_pred) left out" in notes
    assert "the class folders of the train part are those in 'seg_train/seg_train'" in notes


def test_validation_beside_train_and_test_is_held_out(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "train_images", "test_images")
    image_folder(root / "val_images", {"ant": 1, "bee": 1}, first=90)
    data = opened(root)
    assert (len(data.train), len(data.test)) == (8, 4)
    _, val = data.train_and_val()
    assert {name.split("/")[0] for name in val.ids} == {"val_images"}
    assert any(note.startswith("the validation part, 2 samples") for note in data.notes)


@pytest.mark.parametrize("names", [("split_1", "split_2"), ("split_1/train", "split_2/train")])
def test_unclear_parts_are_refused_with_options_to_paste(
    names: tuple[str, str], tmp_path: Path
) -> None:
    root = with_parts(tmp_path / "set", *names)
    flat(root / "unlabelled")
    error = refused(root, 65, f"folders '{names[0]}', '{names[1]}' of .* hold the same folders")
    words = shlex.split(error.remedy.partition(", or")[0])
    assert words == ["--train-folder", names[0], "--test-folder", names[1]]
    data = opened(root, train_folder=words[1], test_folder=words[3])
    assert (data.classes, len(data.train), len(data.test)) == (LABELS, 6, 4)
    data = opened(root, train_folder=words[3])
    assert not data.has_own_test and len(data.everything) == 4
    assert "--train-folder ." in error.remedy
    assert opened(root, train_folder=".").classes == ("split_1", "split_2", "unlabelled")


def test_parts_may_differ_in_a_class(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "a", "b")
    image_folder(root / "a", {"wasp": 2}, first=90)
    refused(root, 65, r"hold the same folders \('ant', 'bee'\)")


def test_classes_with_one_subfolder_of_the_same_name_are_classes(tmp_path: Path) -> None:
    for number, label in enumerate(LABELS):
        image_folder(tmp_path / "set" / label, {"images": 3}, first=10 * number)
    assert opened(tmp_path / "set").classes == LABELS


@pytest.mark.parametrize(
    "options",
    [{"test_folder": "b"}, {"train_folder": "c"}, {"train_folder": "../x"}],
    ids=["no train", "not there", "outside"],
)
def test_invalid_part_folders_are_refused(options: Mapping[str, str], tmp_path: Path) -> None:
    refused(
        with_parts(tmp_path / "set", "a", "b"), 2, "--test-folder names|is no folder in", **options
    )


def test_a_table_has_no_train_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder of images"):
        opened(csv_file(tmp_path / "t.csv"), modality="text", train_folder="a")


@pytest.mark.parametrize("inside", ["archive", "archive/data", "a b/hymenoptera"])
@pytest.mark.parametrize("divided", [True, False])
def test_a_data_set_in_a_subfolder_is_named(inside: str, divided: bool, tmp_path: Path) -> None:
    root = tmp_path / "set"
    with_parts(root / inside, "train", "test") if divided else image_folder(root / inside)
    (root / "readme.txt").write_text("x")
    error = refused(root, 65, f"holds no class folders, they are in '{inside}'")
    (_, place) = shlex.split(error.remedy)
    assert open_dataset(place, modality="image").classes == LABELS


def test_a_data_set_beside_an_empty_folder_is_named(tmp_path: Path) -> None:
    with_parts(tmp_path / "set" / "images", "train", "val")
    (tmp_path / "set" / "labels").mkdir()
    refused(tmp_path / "set", 65, "they are in 'images'")


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("control", "test", "train")])
def test_a_class_may_have_the_name_of_a_part(names: tuple[str, ...], tmp_path: Path) -> None:
    data = opened(image_folder(tmp_path / "set", dict.fromkeys(names, 3)))
    assert data.classes == names and len(data.everything) == 9
    assert any(
        note.startswith("folders with images are classes") and "'train'" in note
        for note in data.notes
    )


def test_a_class_called_train_may_be_in_train(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set" / "train", {"bus": 3, "train": 3}).parent
    image_folder(root / "test", {"bus": 2, "train": 2}, first=50)
    data = opened(root)
    assert data.classes == ("bus", "train") and (len(data.train), len(data.test)) == (6, 4)


def test_flat_train_and_test_folders_are_refused(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"train": 3, "test": 3})
    refused(root, 66, "set/train' holds no class folder with images")


def test_an_empty_class_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "train", "test")
    (root / "train" / "wasp").mkdir()
    (root / "test" / "wasp").mkdir()
    (root / "test" / "wasp" / "Thumbs.db").write_bytes(b"x")
    data = opened(root)
    assert data.classes == LABELS and len(data.everything) == 10
    assert "1 class folder without an image left out: 'wasp'" in data.notes


def test_an_empty_class_with_test_images_is_refused(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "train", "test")
    image_folder(root / "test", {"wasp": 2}, first=90)
    (root / "train" / "wasp").mkdir()
    refused(root, 65, "class 'wasp' is in the test part only")


def test_a_class_may_be_empty_in_test(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set", "train", "test")
    shutil.rmtree(root / "test" / "bee")
    (root / "test" / "bee").mkdir()
    data = opened(root)
    assert data.classes == LABELS and "1 class has no test sample: 'bee'" in data.notes


def test_an_empty_second_class_is_named(tmp_path: Path) -> None:
    (image_folder(tmp_path / "set", {"ant": 3}) / "bee").mkdir()
    error = refused(tmp_path / "set", 65, "class folder 'bee' holds no image$")
    assert "fill it" in error.remedy


def test_equal_images_in_two_classes_are_noted(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 9, "bee": 3})
    for number in range(7):
        shutil.copy(root / f"ant/{number}.jpg", root / f"bee/again{number}.jpg")
    shutil.copy(root / "ant/0.jpg", root / "ant/twice.jpg")
    (note,) = [note for note in opened(root).notes if "another class" in note]
    assert note.startswith("7 samples have the same content as a sample of another class: 'ant/0")
    assert "'ant/4.jpg' and 'bee/again4.jpg'; ..." in note and "again5" not in note


def test_strict_notes_equal_pixels_in_two_classes(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    (root / "ant" / "x.png").write_bytes(encoded(photo(70), "PNG"))
    (root / "bee" / "y.bmp").write_bytes(encoded(photo(70), "BMP"))
    assert not any("another class" in note for note in opened(root).notes)
    data = open_dataset(str(root), modality="image", options=ReadOptions(strict=True))
    assert any("'ant/x.png' and 'bee/y.bmp'" in note for note in data.notes)


def test_equal_texts_of_two_classes_are_noted(tmp_path: Path) -> None:
    data = opened(csv_file(tmp_path / "t.csv", "one,b"), modality="text")
    assert any("'t.csv:1' and 't.csv:5'" in note for note in data.notes)
