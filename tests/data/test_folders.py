"""Folders: the part and class of a file, the files that are read, and what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zooadapt.data import ReadOptions, open_dataset, open_inputs
from zooadapt.errors import AccessError, DataError, NotFoundError

from .make import csv_file, encoded, image_folder, opened, photo, refused


def with_parts(root: Path) -> Path:
    """train/ and test/ of class folders."""
    image_folder(root / "train")
    image_folder(root / "test", {"ant": 2, "bee": 2}, first=50)
    return root


@contextmanager
def nobody() -> Iterator[Path]:
    """A folder with open permissions, and a process without privileges."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        open_dataset(str(image_folder(Path(name, "warm"))), modality="image")
        csv_file(Path(name, "warm.csv"))
        open_dataset(name + "/warm.csv", modality="text")
        user = os.geteuid()
        if user == 0:
            os.chown(name, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)


def test_folders_determine_classes_and_parts(tmp_path: Path) -> None:
    data = opened(with_parts(tmp_path / "set"))
    assert data.classes == ("ant", "bee") and data.has_own_test and not data.notes
    assert list(data.train.ids) == [f"train/{c}/{k}.jpg" for c in ("ant", "bee") for k in range(3)]
    assert list(data.test.ids) == [f"test/{c}/{k}.jpg" for c in ("ant", "bee") for k in range(2)]
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(data.everything.ids) == [*data.test.ids, *data.train.ids]


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    image_folder(tmp_path / "set" / "ant", {"red": 2, "black": 2})
    image_folder(tmp_path / "set", {"bee": 2}, first=20)
    data = opened(tmp_path / "set")
    assert data.classes == ("ant", "bee") and len(data.everything) == 6


def test_a_validation_folder_replaces_a_missing_test_part(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    (root / "test").rename(root / "validation")
    data = opened(root)
    assert len(data.test) == 4 and any("validation part serves" in note for note in data.notes)
    image_folder(root / "test", {"ant": 1, "bee": 1}, first=80)
    data = opened(root)
    assert (len(data.train), len(data.test)) == (10, 2)


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    image_folder(root / "Testing", {"ant": 1}, first=80)
    refused(root, 65, "'Testing' and 'test' of 'set' mean the same part")


def test_a_test_folder_alone_is_no_class(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    shutil.rmtree(root / "train")
    refused(root, 65, "'set' holds 'test' and no 'train' folder")


def test_folders_beside_train_and_loose_images_are_noted(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    image_folder(root / "unlabelled", {"x": 1})
    (root / "train" / "loose.jpg").write_bytes(encoded(photo(70), "JPEG"))
    data = opened(root)
    assert "1 folder beside train (unlabelled) left out" in data.notes
    assert "1 image outside class folders left out" in data.notes
    (root / "train/ant/0.jpg").rename(root / "train/0.jpg")
    data = opened(root / "train")
    assert "2 images outside class folders left out" in data.notes


def test_hidden_and_system_files_are_ignored(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    for name in (".ipynb_checkpoints", "__MACOSX", "ant/.thumbnails"):
        image_folder(root / name, {"x": 1})
    (root / "ant" / "._0.jpg").write_bytes(b"\0\5\x16\7")
    (root / "ant" / ".DS_Store").write_bytes(b"x")
    data = opened(root)
    assert data.classes == ("ant", "bee") and len(data.everything) == 6
    assert "3 hidden folders left out" in data.notes


def test_a_class_folder_without_images_is_refused(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    (root / "wasp").mkdir()
    (root / "wasp" / "a.heic").write_bytes(b"x")
    error = refused(root, 65, r"'wasp' holds no image, only 1 other files \(\.heic\)")
    assert "convert" in error.remedy


def test_one_class_is_refused(tmp_path: Path) -> None:
    refused(image_folder(tmp_path / "set", {"ant": 5}), 65, "one class only, 'ant'")


def test_a_single_image_in_a_class_is_refused_unless_allowed(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 5, "bee": 1, "fly": 1})
    error = refused(root, 65, r"class 'bee' \(and 1 more\) has a single training sample")
    assert "--allow-tiny" in error.remedy
    assert opened(root, allow_tiny=True).classes == ("ant", "bee", "fly")


def test_a_folder_without_images_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    refused(tmp_path / "set", 66, "holds no class folder with images")
    (tmp_path / "set" / "loose.jpg").write_bytes(encoded(photo(), "JPEG"))
    error = refused(tmp_path / "set", 66, "holds no class folder with images")
    assert "one folder for each class" in error.remedy


def test_a_missing_location_is_not_found(tmp_path: Path) -> None:
    csv_file(tmp_path / "t.csv")
    for location in (tmp_path / "none", tmp_path / "t.csv" / "x", tmp_path / ("x" * 300)):
        with pytest.raises(NotFoundError, match="is not there|cannot be opened") as caught:
            opened(location)
        assert caught.value.thing == str(location) and caught.value.remedy
    with pytest.raises(NotFoundError, match="cannot be opened"):
        opened("a\0b")


def test_a_table_of_texts_holds_no_images(tmp_path: Path) -> None:
    message = "'t.csv' has no column 'file_name'.* the model takes images"
    refused(csv_file(tmp_path / "t.csv"), 65, message, modality="image")


NAMES = ["🐝 bee 蜂", "naïve café", "a\\b", "CON", "nul.txt", "-rf", "=cmd|' C'!A0", "<b>&<i>",
         "| a | b |", "---\nkey: value", "\x1b[31mred", "\u202egpj", " lead", "x" * 99]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_can_be_a_class(name: str, tmp_path: Path) -> None:
    try:
        root = image_folder(tmp_path / "set", {"ant": 2, name: 2})
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise
        pytest.skip("no file system name here")
    data = opened(root)
    assert set(data.classes) == {"ant", unicodedata.normalize("NFC", name)}
    assert len(data.everything) == 4 and len(data.fingerprint) == 64
    assert {path.name for path in tmp_path.iterdir()} == {"set"}


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "a/b", "..", "..\\x", *NAMES])
def test_any_label_of_a_table_can_be_a_class(name: str, tmp_path: Path) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    data = opened(csv_file(tmp_path / "t.csv", f"x,{quoted}", f"y,{quoted}"), modality="text")
    assert data.classes == tuple(sorted(["a", "b", unicodedata.normalize("NFC", name)]))
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv"}


def test_unicode_forms_of_one_class_name_are_refused(tmp_path: Path) -> None:
    long, short = unicodedata.normalize("NFD", "café"), "café"
    path = csv_file(tmp_path / "t.csv", f"x,{long}", f"y,{long}")
    assert opened(path, modality="text").classes == ("a", "b", short)
    csv_file(path, f"x,{long}", f"y,{short}")
    error = refused(path, 65, f"two classes are spelled '{short}' in different Unicode forms")
    assert "rename" in error.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_class_names_must_be_valid_unicode(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    os.rename(root / "ant" / "0.jpg", os.fsencode(root / "ant") + b"/\xff.jpg")
    data = opened(root)
    odd = next(k for k, name in enumerate(data.everything.ids) if "udcff" in name)
    assert data.everything.ids[odd].encode() and data.everything.raw(odd).mode == "RGB"
    os.rename(root / "ant", os.fsencode(root) + b"/\xff")
    refused(root, 65, r"the name of class folder '\\udcff' is no valid Unicode")


def test_a_label_in_the_test_part_only_is_refused(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    image_folder(root / "test", {"wasp": 2}, first=90)
    refused(root, 65, "class 'wasp' is in the test part only")


def test_a_label_in_the_training_part_only_is_noted(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    image_folder(root / "train", {"wasp": 2}, first=90)
    assert "1 class has no test sample: 'wasp'" in opened(root).notes


def test_the_same_sample_in_train_and_test_is_counted_and_strict_refuses(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    for number in range(2):
        shutil.copy(root / f"train/ant/{number}.jpg", root / f"test/ant/copy{number}.jpg")
    note = "2 test samples have the same content as a training sample"
    assert note in opened(root).notes
    error = refused(root, 65, note + ", the first is 'test/ant/copy0.jpg'", strict=True)
    assert "remove them" in error.remedy
    assert not opened(with_parts(tmp_path / "clean"), strict=True).notes


def test_strict_compares_pixels(tmp_path: Path) -> None:
    """A copy that was saved again without loss has other bytes and the same pixels."""
    root = with_parts(tmp_path / "set")
    (root / "train/ant/png.png").write_bytes(encoded(photo(33), "PNG", compress_level=1))
    (root / "test/ant/again.bmp").write_bytes(encoded(photo(33), "BMP"))
    assert not opened(root).notes
    refused(root, 65, "1 test sample has the same content", strict=True)


def test_equal_texts_in_train_and_test_are_counted(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    csv_file(tmp_path / "set" / "train.csv")
    csv_file(tmp_path / "set" / "test.csv", "new,a")
    note = "4 test samples have the same content as a training sample"
    assert note in opened(tmp_path / "set", modality="text").notes
    refused(tmp_path / "set", 65, note, modality="text", strict=True)


def test_circular_links_are_left_out(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    (root / "train/ant/self").symlink_to("self")
    (root / "train/ant/here").symlink_to(".")
    (root / "train/ant/up").symlink_to("../..")
    (root / "train/ouroboros").symlink_to("..")
    data = opened(root)
    assert data.classes == ("ant", "bee") and len(data.everything) == 10
    assert "3 links that lead in a circle left out" in data.notes
    assert "1 broken link left out" in data.notes
    outside = image_folder(tmp_path / "out", {"x": 1}, first=60) / "x"
    (outside / "back").symlink_to(root)
    (root / "train/ant/more").symlink_to(outside)
    assert len(opened(root, follow_links=True).everything) == 11


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    (root / "store").mkdir()
    (root / "train/ant/0.jpg").rename(root / "store/0.jpg")
    (root / "train/ant/0.jpg").symlink_to("../../store/0.jpg")
    assert len(opened(root).train) == 6


@pytest.mark.parametrize("where", ["train/ant/out.jpg", "train/ant/out", "train/out", "out"])
def test_links_out_of_the_folder_need_an_option(where: str, tmp_path: Path) -> None:
    root = with_parts(tmp_path / "set")
    other = image_folder(tmp_path / "other", {"x": 2}, first=70) / "x"
    (root / where).symlink_to(other / "0.jpg" if where.endswith("jpg") else other)
    error = refused(root, 65, f"link '{where}' leads out of 'set', to '.*other")
    assert error.thing == where and "--follow-links" in error.remedy
    if where != "train/out":
        opened(root, follow_links=True)


def test_table_links_out_of_the_folder_need_an_option(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").symlink_to(csv_file(tmp_path / "secret.csv"))
    refused(tmp_path / "set", 65, "link 'train.csv' leads out of 'set'", modality="text")
    data = opened(tmp_path / "set", modality="text", follow_links=True)
    assert len(data.everything) == 4


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("what", ["set/bee/1.jpg", "set/bee", "set"])
def test_an_unreadable_file_or_folder_is_named(what: str) -> None:
    with nobody() as place:
        root = image_folder(place / "set")
        (place / what).chmod(0)
        try:
            with pytest.raises(AccessError, match=what.removeprefix("set/")) as caught:
                open_dataset(str(root), modality="image")
            assert caught.value.code == 77 and "permissions" in caught.value.remedy
        finally:
            (place / what).chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "t.arrow", "lines.txt"])
def test_an_unreadable_table_is_named(name: str) -> None:
    with nobody() as place:
        csv_file(place / name).chmod(0)
        with pytest.raises(AccessError, match=f"'{name}' may not be read"):
            if name == "lines.txt":
                open_inputs([str(place / name)], modality="text")
            open_dataset(str(place / name), modality="text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_sockets_and_devices_are_left_out(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    os.mkfifo(root / "ant" / "pipe.jpg")
    (root / "ant" / "null.jpg").symlink_to("/dev/zero")
    before = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(root / "ant")
        try:
            listening.bind("socket.jpg")
        finally:
            os.chdir(before)
        data = opened(root, follow_links=True)
    assert len(data.everything) == 6
    assert "3 pipes, sockets or devices left out" in data.notes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_refused_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    refused(tmp_path / "t.csv", 65, "'t.csv' is no regular file")
    with pytest.raises(DataError, match="pipe, socket or device"):
        open_inputs([str(tmp_path / "t.csv")], modality="image")
    with pytest.raises(DataError, match="pipe, socket or device"):
        open_inputs(["/dev/zero"], modality="text")


def test_too_many_classes_are_refused_with_their_memory(tmp_path: Path) -> None:
    rows = "\n".join(f"x,class {k}" for k in range(100_000))
    (tmp_path / "t.csv").write_text("text,label\n" + rows)
    error = refused(tmp_path / "t.csv", 65, r"100,000 classes, the limit is 20,000: .* 3\.3 GB")
    assert "--label-column" in error.remedy


def test_inputs_keep_their_order(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    one = tmp_path / "one.dat"
    one.write_bytes(encoded(photo(7), "PNG"))
    split = open_inputs([str(root / "bee"), str(one), str(root / "ant")], modality="image")
    expected = [root / "bee" / f"{k}.jpg" for k in range(3)] + [one]
    expected += [root / "ant" / f"{k}.jpg" for k in range(3)]
    assert list(split.ids) == [str(path) for path in expected]
    assert split.raw(3).tobytes() == photo(7).tobytes()


def test_broken_inputs_are_refused_or_skipped(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    (root / "ant" / "1.jpg").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"ant/1\.jpg' is no image"):
        open_inputs([str(root)], modality="image")
    (root / "ant" / "notes.txt").write_text("x")
    split = open_inputs([str(root)], modality="image", options=ReadOptions(skip_bad=True))
    assert len(split) == 5 and not any(name.endswith("ant/1.jpg") for name in split.ids)
    assert split.notes == ("1 file that is no image left out", "1 broken image left out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no input in"):
        open_inputs([str(tmp_path / "empty")], modality="image")
