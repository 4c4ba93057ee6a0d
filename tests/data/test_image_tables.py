"""Images with a table: paths, labels, groups and parts are those of its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import zooadapt
from zooadapt.cli import root as cli
from zooadapt.data import ReadOptions, open_inputs, open_samples
from zooadapt.data.in_memory import dataset_of, inputs_of
from zooadapt.errors import DataError

from .make import encoded, image_folder, opened, photo, refused

Row = Mapping[str, Any]
LABELS = ("ant", "bee")


def images(root: Path, names: Sequence[str], *, first: int = 0) -> list[str]:
    """Small files with these paths below a folder; no two pictures are the same."""
    for number, name in enumerate(names, first + 1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(photo(number), "JPEG"))
    return list(names)


def rows_of(names: Sequence[str], column: str = "file_name") -> list[dict[str, Any]]:
    """Rows whose labels alternate."""
    return [{column: name, "label": LABELS[k % 2]} for k, name in enumerate(names)]


def write_table(path: Path, rows: Sequence[Row]) -> Path:
    """A table of rows in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    return path


def image_table(root: Path, table: str = "metadata.csv", count: int = 8) -> Path:
    """A folder of images with a table."""
    write_table(root / table, rows_of(images(root, [f"{k}.jpg" for k in range(count)])))
    return root


def labels_by_name(split: Any, classes: Sequence[str]) -> dict[str, str]:
    return {name: classes[label] for name, label in zip(split.ids, split.labels, strict=True)}


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_a_metadata_table_labels_the_images_beside_it(name: str, tmp_path: Path) -> None:
    data = opened(image_table(tmp_path / "set", name))
    wanted = {f"{k}.jpg": LABELS[k % 2] for k in range(8)}
    assert labels_by_name(data.everything, data.classes) == wanted
    assert f"the images are those of '{name}', column 'file_name'" in data.notes


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_any_table_names_images_in_its_image_column(name: str, tmp_path: Path) -> None:
    names = images(tmp_path, [f"photos/{k}.jpg" for k in range(8)])
    rows = [{"kind": row["label"], "photo": row["photo"]} for row in rows_of(names, "photo")]
    path = write_table(tmp_path / name, rows)
    data = opened(path, image_column="photo", label_column="kind")
    wanted = {f"photos/{k}.jpg": LABELS[k % 2] for k in range(8)}
    assert labels_by_name(data.everything, data.classes) == wanted


@pytest.mark.parametrize("tables", ["part folders", "one table", "part files"])
def test_parts_are_folders_or_files_of_parts(tables: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {}
    root = tmp_path / "set"
    names = {
        part: images(root, [f"{part}/{k}.jpg" for k in range(count)], first=100 * count)
        for part, count in (("train", 8), ("validation", 6), ("test", 4))
    }
    if tables == "part folders":
        for part, each in names.items():
            write_table(root / part / "metadata.csv", rows_of([Path(name).name for name in each]))
    elif tables == "one table":
        rows = [row for each in names.values() for row in rows_of(each)]
        write_table(root / "metadata.csv", rows)
    else:
        options["image_column"] = "image"
        for part, each in names.items():
            write_table(root / f"{part}.csv", rows_of(each, "image"))
    data = opened(root, **options)
    train, val = data.train_and_val()
    assert data.has_own_test
    assert (sorted(train.ids), sorted(val.ids), sorted(data.test.ids)) == tuple(names.values())
    assert not any("left out" in note for note in data.notes)


@pytest.mark.parametrize("folders", [("train", "test"), ("photos", "photos")])
def test_paths_may_start_in_a_folder_beside_the_table(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    """In the folder named like the table, or in the only one that holds the first image."""
    root = tmp_path / "set"
    for number, (part, folder) in enumerate(zip(("train", "test"), folders, strict=True)):
        names = [f"{part if folder == 'photos' else ''}{k}.jpg" for k in range(4)]
        images(root, [f"{folder}/{name}" for name in names], first=10 * number)
        write_table(root / f"{part}.csv", rows_of(names))
    data = opened(root, image_column="file_name")
    assert {name.split("/")[0] for name in data.test.ids} == {folders[1]}
    assert f"the paths in 'test.csv' start in folder '{folders[1]}'" in data.notes


def test_paths_start_beside_the_table_where_two_folders_hold_the_first(tmp_path: Path) -> None:
    names = [f"{k}.jpg" for k in range(4)]
    for folder in ("left", "right"):
        images(tmp_path / "set" / folder, names)
    path = write_table(tmp_path / "set" / "t.csv", rows_of(names))
    message = "row 1 of 't.csv' names '0.jpg', .* though 'left/0.jpg' is; .* of 3 more rows"
    refused(path, 66, message, modality="image")


def test_a_table_has_the_digests_and_fingerprint_of_class_folders(tmp_path: Path) -> None:
    folders = opened(image_folder(tmp_path / "set", {"ant": 6, "bee": 6}))
    names = [f"{label}/{k}.jpg" for label in LABELS for k in range(6)]
    rows = [{"image": f"set/{name}", "label": name[:3]} for name in names]
    table = opened(write_table(tmp_path / "table.csv", rows), image_column="image")
    assert table.fingerprint == folders.fingerprint
    assert table.train.digests == folders.train.digests
    assert table.test.digests == folders.test.digests


def test_class_folders_with_another_metadata_table_stay_class_folders(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 4, "bee": 4})
    rows = [{"file_name": f"{label}/{k}.jpg", "caption": "x"} for label in LABELS for k in range(4)]
    for table in (rows, [{"year": 2020}]):
        write_table(root / "metadata.csv", table)
        data = opened(root)
        assert data.everything.ids[0] == "ant/0.jpg" and data.classes == LABELS
        assert any("class folders are read and no table" in note for note in data.notes)
    refused(root, 65, "no column 'photo'", image_column="photo")


def test_a_train_folder_overrules_a_metadata_table(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 4, "bee": 4})
    names = [f"{label}/{k}.jpg" for label in LABELS for k in range(4)]
    rows = [{"file_name": name, "label": f"c{k % 2}"} for k, name in enumerate(names)]
    write_table(root / "metadata.csv", rows)
    assert opened(root).classes == ("c0", "c1")
    assert opened(root, train_folder=".").classes == LABELS
    refused(root, 2, "class folders", train_folder=".", image_column="file_name")


def test_groups_of_a_table_are_not_split(tmp_path: Path) -> None:
    names = images(tmp_path, [f"{k}.jpg" for k in range(40)])
    rows = [row | {"by": f"p{k // 4}"} for k, row in enumerate(rows_of(names))]
    data = opened(write_table(tmp_path / "metadata.csv", rows), group_column="by")
    assert np.bincount(data.everything.groups).tolist() == [4] * 10
    assert not set(data.train.groups) & set(data.test.groups)


def test_images_that_no_row_names_are_counted(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set")
    images(root, ["more/8.jpg", "more/9.jpg", "10.jpg"], first=8)
    assert "3 images that no row names are left out" in opened(root).notes
    note = "1 image that no row names is left out"
    assert note in opened(root / "metadata.csv").notes, "folders without a named image"


def test_labels_and_broken_images_of_a_table_are_left_out_on_request(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set", count=10)
    rows = rows_of([f"{k}.jpg" for k in range(10)])
    rows[3]["label"] = ""
    write_table(root / "metadata.csv", rows)
    (root / "4.jpg").write_bytes(b"nothing")
    error = refused(root, 65, "image '4.jpg' is no image", drop_unlabelled=True)
    assert "--skip-bad" in error.remedy
    error = refused(root, 65, "has no label: 3.jpg", skip_bad=True)
    assert "--drop-unlabelled" in error.remedy
    assert len(opened(root, skip_bad=True, drop_unlabelled=True).everything) == 8


def _outside(root: Path) -> str:
    (root.parent / "outside.jpg").write_bytes(encoded(photo(99), "JPEG"))
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")
    return "link.jpg"


def _folder(root: Path) -> str:
    (root / "sub").mkdir()
    return "sub"


FAULTS: Mapping[str, tuple[str | Callable[[Path], str], int, str, str]] = {
    "empty": ("", 65, "row 9 of 'table.csv' names no image", "remove it"),
    "missing": ("no.jpg", 66, "row 9 of 'table.csv' names 'no.jpg', which is not there$", "add"),
    "suffix": ("0", 66, "names '0', which is not there, though '0.jpg' is", "write each path"),
    "folder": ("deep.jpg", 66, "not there, though 'more/deep.jpg' is", "from the table's folder"),
    "both": ("deep", 66, "not there, though 'more/deep.jpg' is", "from the table's folder"),
    "NUL": ("a\0b", 66, "not there", "remove the row"),
    "parent": ("../outside.jpg", 65, "row 9 .* leaves the folder 'set'", "below its folder"),
    "parent inside": ("more/../../x.jpg", 65, "leaves the folder 'set'", "below its folder"),
    "absolute": ("/etc/passwd", 65, "row 9 .* leaves the folder 'set'", "below its folder"),
    "link": (_outside, 65, "'link.jpg', a link that leads out of 'set'", "--follow-links"),
    "no file": (_folder, 65, "row 9 of 'table.csv' names 'sub', which is no file", "each path"),
    "twice": ("./3.jpg", 65, "rows 4 and 9 of 'table.csv' name the same image, '3.jpg'", "remove"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_row_at_fault_is_named(fault: str, tmp_path: Path) -> None:
    cell, code, message, remedy = FAULTS[fault]
    root = image_table(tmp_path / "set", "table.jsonl" if fault == "NUL" else "table.csv")
    images(root, ["more/deep.jpg"], first=50)
    names = [*(f"{k}.jpg" for k in range(8)), cell(root) if callable(cell) else cell]
    path = write_table(root / ("table.jsonl" if fault == "NUL" else "table.csv"), rows_of(names))
    assert remedy in refused(path, code, message, modality="image").remedy
    with pytest.raises(Exception, match=message):
        open_inputs([str(path)], modality="image")


def test_a_folder_is_named_where_the_table_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_table(tmp_path / "set", "t.csv")
    write_table(root / "t.csv", rows_of(["../x.jpg"]))
    monkeypatch.chdir(root)
    refused("t.csv", 65, "'../x.jpg', a path that leaves the folder 'set'$", modality="image")


def test_follow_links_reads_an_image_outside(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set", "table.csv")
    names = [*(f"{k}.jpg" for k in range(8)), _outside(root)]
    path = write_table(root / "table.csv", rows_of(names))
    assert len(opened(path, follow_links=True).everything) == 9


@pytest.mark.skipif(os.name == "nt", reason="a backslash separates folders there")
def test_paths_of_windows_are_read(tmp_path: Path) -> None:
    images(tmp_path, [f"a/{k}.jpg" for k in range(4)])
    path = write_table(tmp_path / "t.csv", rows_of([rf"a\{k}.jpg" for k in range(4)]))
    assert opened(path).everything.ids[:] == [f"a/{k}.jpg" for k in range(4)]


def test_a_table_without_the_image_column_gets_a_proposal(tmp_path: Path) -> None:
    names = images(tmp_path / "set", [f"train/{k}.jpg" for k in range(8)])
    path = write_table(tmp_path / "set" / "train.csv", rows_of(names, "picture"))
    for location in (path, path.parent):  # the folder's train.csv, since it has no class folders
        error = refused(
            location, 65, "no column 'file_name'.*its images in 'picture'", modality="image"
        )
        assert error.options == ("--image-column", "picture")
    opened(path.parent, image_column="picture")
    path.rename(path.with_name("metadata.csv"))
    error = refused(path.parent, 65, "no column 'file_name'.*its images in 'picture'")
    assert error.options == ("--image-column", "picture")


def test_a_table_without_a_header_is_refused(tmp_path: Path) -> None:
    images(tmp_path, [f"{k}.jpg" for k in range(4)])
    (tmp_path / "t.csv").write_text("".join(f"{k}.jpg,{LABELS[k % 2]}\n" for k in range(4)))
    refused(tmp_path / "t.csv", 65, "seems to have no header", modality="image")


def test_an_image_column_needs_a_table(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 4, "bee": 4})
    error = refused(root, 2, "a folder of images has no column 'photo'", image_column="photo")
    assert error.thing == "--image-column"


def test_two_metadata_tables_of_one_part_are_refused(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set")
    write_table(root / "metadata.jsonl", rows_of(["0.jpg"]))
    refused(root, 65, "'metadata.jsonl' of 'set' means the same part as 'metadata.csv'")
    (root / "metadata.jsonl").unlink()
    images(root, ["train/9.jpg"], first=9)
    write_table(root / "train" / "metadata.csv", rows_of(["9.jpg"]))
    refused(root, 65, "'train/metadata.csv' of 'set' means the same part as 'metadata.csv'")


def test_inputs_are_the_images_of_a_table_in_order_of_row(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set")
    write_table(root / "metadata.csv", [{"file_name": name} for name in ("3.jpg", "1.jpg")])
    for location in (root, root / "metadata.csv"):
        split = open_inputs([str(location)], modality="image")
        assert list(split.ids) == [str(root / "3.jpg"), str(root / "1.jpg")]
        assert split.raw(0).size == (24, 16)
    in_memory = inputs_of(root / "metadata.csv", modality="image")
    assert list(in_memory.ids) == list(split.ids)


def test_inputs_are_all_images_where_metadata_names_none(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set")
    write_table(root / "metadata.csv", [{"year": 2020}])
    split = open_inputs([str(root)], modality="image")
    assert len(split) == 8
    assert any("all images of the folder are read" in note for note in split.notes)


@pytest.mark.parametrize("labelled", [True, False])
def test_samples_of_a_table_may_lack_labels(labelled: bool, tmp_path: Path) -> None:
    root = image_table(tmp_path / "set")
    if not labelled:
        write_table(root / "metadata.csv", [{"file_name": f"{k}.jpg"} for k in range(8)])
    split, task = open_samples(str(root), modality="image")
    assert len(split) == 8 and (task.outputs if task else None) == (LABELS if labelled else None)


def test_a_frame_names_images_in_its_image_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    root = image_table(tmp_path / "set")
    rows = [{"name": "x", "photo": str(root / f"{k}.jpg"), "label": LABELS[k % 2]}
            for k in range(8)]  # fmt: skip
    frame, options = pandas.DataFrame(rows), ReadOptions(image_column="photo")
    data = dataset_of(frame, modality="image", options=options)
    assert data.fingerprint == opened(root).fingerprint
    assert len(inputs_of(frame, modality="image", options=options)) == 8
    absent = ReadOptions(image_column="picture")
    for read in (dataset_of, inputs_of):
        with pytest.raises(DataError, match="'data' has no column 'picture'") as caught:
            read(frame, modality="image", options=absent)
        assert "--image-column" in caught.value.remedy


def test_every_command_reads_a_table_as_it_reads_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    root = image_folder(tmp_path / "set" / "train", {"ant": 6, "bee": 6}).parent
    image_folder(root / "test", {"ant": 3, "bee": 3}, first=50)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in root.rglob("*.jpg"))
    for part in ("train", "test"):
        rows = [{"path": name, "label": name.split("/")[2]} for name in names if part in name]
        write_table(tmp_path / "tables" / f"{part}.csv", rows)
    (tmp_path / "tables" / "set").symlink_to(root)
    table, option = str(tmp_path / "tables"), ("--image-column", "path", "--follow-links")

    def printed(*words: str) -> Any:
        cli.main([*words, "--json"], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    out = [str(tmp_path / name) for name in ("a", "b")]
    adapted = ("adapt", "digits04", "--strategy", "probe", "--precision", "fp32")
    reports = [printed(*adapted, str(root), "-o", out[0])]
    stored = set((tmp_path / "cache").rglob("*.safetensors"))
    reports.append(printed(*adapted, table, "-o", out[1], *option))
    assert stored and stored == set((tmp_path / "cache").rglob("*.safetensors"))
    assert reports[0]["test"] == reports[1]["test"] and reports[1]["test"]["n"] == 6
    weights = [Path(folder, "model.safetensors").read_bytes() for folder in out]
    assert weights[0] == weights[1]
    measured = [printed("evaluate", out[0], str(root)), printed("evaluate", out[0], table, *option)]
    assert measured[0] == measured[1]
    test = str(tmp_path / "tables" / "test.csv")
    (predicted,) = printed("predict", out[0], test, *option).values()
    assert [one["input"] for one in predicted] == [
        str(tmp_path / "tables" / name) for name in names if "/test/" in name
    ]
    features = str(tmp_path / "features.safetensors")
    assert printed("features", out[0], table, "-o", features, *option)["tensors"]["labels"] == [18]


def test_python_adapts_to_a_table(tmp_path: Path) -> None:
    root = image_table(tmp_path / "set", "table.csv", count=12)
    options: dict[str, Any] = {"strategy": "probe", "progress": False}
    model = zooadapt.adapt("digits04", root / "table.csv", image_column="file_name", **options)
    assert model.classes == LABELS
    assert len(model.predict(root / "table.csv", image_column="file_name")) == 12
    with pytest.raises(zooadapt.ZooadaptError) as caught:
        zooadapt.adapt("digits04", root / "table.csv", image_column="photo", **options)
    assert "image_column='file_name'" in caught.value.remedy
