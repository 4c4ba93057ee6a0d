"""Targets: lists, joined labels, several columns and numbers are read alike in every format; what
they look like is a choice; a bad one is an error that names its row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import load_file

from zooadapt.cli.commands import amended
from zooadapt.data import ReadOptions, dataset_of
from zooadapt.errors import UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.cells import Cell, separator_of
from zooadapt.tasks.detection import arranged, detect
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt

from .make import encoded, image_folder, opened, photo, refused

TEXTS = [f"a sentence about the number {k}, more or less" for k in range(12)]
SETS: list[tuple[str, ...]] = [
    ("joy", "love"),
    ("anger",),
    (),
    ("anger", "joy"),
    ("love",),
    ("joy",),
] * 2
NAMES = ("anger", "joy", "love")
FLAGS = [[int(name in one) for name in NAMES] for one in SETS]
PRICES = [12.5, 7.25, 3.1, 99.99, 8.4, 15.0, 22.75, 41.3, 5.6, 18.2, 77.1, 64.9]


def table(path: Path, **columns: Sequence[Any]) -> Path:
    """A table of these columns and texts, in the format of the suffix."""
    columns = {"text": TEXTS[: len(next(iter(columns.values())))], **columns}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".csv":
        cells = [",".join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(columns), *cells]) + "\n")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    else:
        arrow = pa.table(columns)
        with pa.ipc.new_file(str(path), arrow.schema) as writer:
            writer.write_table(arrow)
    return path


def why(data: Any) -> str:
    (choice,) = data.choices
    assert choice.what == "task" and choice.value == data.task.name
    return str(choice.why)


# Several labels


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".arrow"])
def test_lists_are_several_labels_in_every_format(suffix: str, tmp_path: Path) -> None:
    path = table(tmp_path / f"t{suffix}", label=[list(one) for one in SETS])
    data = opened(path, modality="text")
    assert data.task.name == "multilabel" and data.task.outputs == NAMES
    assert data.everything.labels.tolist() == FLAGS
    assert why(data) == "'label' holds lists"


@pytest.mark.parametrize(
    "spell",
    ["|".join, "; ".join, ", ".join, str, lambda one: json.dumps(list(one))],
    ids=["bar", "semicolon", "comma", "python", "json"],
)
def test_every_spelling_of_several_labels_is_the_same_set(spell: Any, tmp_path: Path) -> None:
    columns = table(tmp_path / "t.csv", **dict(zip(NAMES, zip(*FLAGS, strict=True), strict=True)))
    flags = opened(columns, modality="text", label_columns="love,anger,joy")
    cells = [spell(list(one)).replace('"', '""') for one in SETS]
    data = opened(table(tmp_path / "j.csv", tags=cells), modality="text", label_column="tags")
    for one in (flags, data):
        assert one.task.name == "multilabel" and one.task.outputs == NAMES
        assert one.everything.labels.tolist() == FLAGS
    assert data.fingerprint == flags.fingerprint
    assert why(flags) == "'love', 'anger', 'joy' hold 0 and 1; --task regression overrules"


def test_an_empty_cell_is_a_sample_without_labels(tmp_path: Path) -> None:
    cells = ["joy|love", "anger", "", "anger|joy"] * 3
    path = table(tmp_path / "t.csv", label=cells)
    assert opened(path, modality="text").everything.labels[2].tolist() == [0, 0, 0]
    path = table(tmp_path / "t.jsonl", label=[*cells[:-1], None])
    error = refused(path, 65, r"1 row of .* has no label: t\.jsonl:12")
    assert "--drop-unlabelled" in error.remedy
    columns = dict(zip(NAMES, zip(*FLAGS, strict=True), strict=True))
    path = table(tmp_path / "c.csv", **columns | {"joy": ["", *columns["joy"][1:]]})
    refused(path, 65, r"1 row of .* has no label: c\.csv:1", label_columns=",".join(NAMES))
    data = opened(path, modality="text", label_columns=",".join(NAMES), drop_unlabelled=True)
    assert len(data.everything) == 11


def test_a_test_part_of_empty_cells_is_left_out(tmp_path: Path) -> None:
    for suffix, empty in ((".csv", ""), (".jsonl", [])):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        labels: Sequence[Any] = ["|".join(one) for one in SETS] if empty == "" else SETS
        table(folder / f"train{suffix}", label=labels)
        table(folder / f"test{suffix}", label=[empty] * 4)
        data = opened(folder, modality="text")
        assert "the test part (4 samples) has no labels, so it is left out" in data.notes
        assert not data.has_own_test and len(data.everything) == 12


@pytest.mark.parametrize("form", ["lists", "tuples", "sets", "pandas", "Arrow", "datasets", "flags",
                                  "columns", "parts"])  # fmt: skip
def test_several_labels_in_memory_are_those_of_the_file(form: str, tmp_path: Path) -> None:
    import datasets
    import pandas

    expected = opened(table(tmp_path / "t.csv", label=["|".join(s) for s in SETS]), modality="text")
    lists = [list(one) for one in SETS]
    features = datasets.Features(
        {"text": datasets.Value("string"),
         "label": datasets.Sequence(datasets.ClassLabel(names=list(NAMES)))}
    )  # fmt: skip
    options = ReadOptions(label_columns=",".join(NAMES) if form == "columns" else None)
    data = dataset_of(
        {
            "lists": (TEXTS, lists),
            "tuples": (TEXTS, SETS),
            "sets": (TEXTS, [set(one) for one in SETS]),
            "pandas": pandas.DataFrame({"text": TEXTS, "label": lists}),
            "Arrow": pa.table({"text": TEXTS, "label": lists}),
            "datasets": datasets.Dataset.from_dict(
                {"text": TEXTS, "label": [[NAMES.index(n) for n in one] for one in SETS]},
                features=features,
            ),
            "flags": (TEXTS, np.array(FLAGS)),
            "columns": pandas.DataFrame({"text": TEXTS}).join(
                pandas.DataFrame(FLAGS, columns=list(NAMES)).astype(bool)
            ),
            "parts": {"train": (TEXTS[:8], lists[:8]), "test": (TEXTS[8:], lists[8:])},
        }[form],
        modality="text",
        options=options,
    )
    names = tuple(f"label {k}" for k in (1, 2, 3)) if form == "flags" else NAMES
    assert data.task.name == "multilabel" and data.task.outputs == names
    assert data.everything.labels.tolist() == FLAGS
    if form not in ("flags", "parts"):
        assert data.fingerprint == expected.fingerprint


def test_hub_sets_may_have_lists_and_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    kinds = {
        "names": (datasets.Sequence(datasets.Value("string")), [list(one) for one in SETS]),
        "codes": (datasets.Sequence(datasets.ClassLabel(names=list(NAMES))),
                  [[NAMES.index(name) for name in one] for one in SETS]),
        "hot": (datasets.Sequence(datasets.Value("int8")), FLAGS),
        "price": (datasets.Value("float32"), PRICES),
        "pair": (datasets.Sequence(datasets.Value("float32"), length=2),
                 [[price, -price] for price in PRICES]),
    }  # fmt: skip
    features = {"text": datasets.Value("string")} | {n: kind for n, (kind, _) in kinds.items()}
    rows = {"text": TEXTS} | {name: values for name, (_, values) in kinds.items()}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    for column, task, outputs in (
        ("names", "multilabel", NAMES),
        ("codes", "multilabel", NAMES),
        ("hot", "multilabel", ("hot 1", "hot 2", "hot 3")),
        ("price", "regression", ("price",)),
        ("pair", "regression", ("pair 1", "pair 2")),
    ):
        data = opened(f"hf:{tmp_path}", modality="text", label_column=column)
        assert (data.task.name, data.task.outputs) == (task, outputs)
        signs = [1, -1][: len(outputs)]
        prices = [[pytest.approx(sign * price) for sign in signs] for price in PRICES]
        assert data.everything.labels.tolist() == (FLAGS if task == "multilabel" else prices)


def test_images_of_a_table_may_have_several_labels(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for k in range(12):
        (root / f"{k}.jpg").write_bytes(encoded(photo(k), "JPEG"))
    rows = [{"file_name": f"{k}.jpg", "tags": list(one), "price": price, "joy": int("joy" in one),
             "love": int("love" in one)}
            for k, (one, price) in enumerate(zip(SETS, PRICES, strict=True))]  # fmt: skip
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert opened(root, label_column="tags").everything.labels.tolist() == FLAGS
    data = opened(root, label_columns="joy,love")
    assert data.everything.labels.tolist() == [flags[1:] for flags in FLAGS]
    data = opened(root, label_column="price")
    assert data.task.name == "regression" and data.everything.labels[:, 0].tolist() == PRICES


# Numbers


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".arrow"])
def test_numbers_with_fractions_are_regression(suffix: str, tmp_path: Path) -> None:
    path = table(tmp_path / f"t{suffix}", price=PRICES, area=[k * k for k in range(12)])
    data = opened(path, modality="text", label_column="price")
    assert data.task.name == "regression" and data.task.outputs == ("price",)
    assert data.everything.labels[:, 0].tolist() == PRICES
    assert why(data) == (
        "'price' holds fractions, 12 different numbers in 12 rows; --task classification overrules"
    )
    data = opened(path, modality="text", label_columns="area,price")
    assert data.task.outputs == ("area", "price")
    assert data.everything.labels[3].tolist() == [9.0, 99.99]


@pytest.mark.parametrize("width", [0, 1, 2])
def test_arrays_of_numbers_are_regression(width: int) -> None:
    values = np.array(PRICES) if width == 0 else np.outer(PRICES, [2.0, 10.0][:width]).round()
    data = dataset_of((TEXTS, values), modality="text")
    assert data.task.name == "regression"
    assert data.task.outputs == (("label 1", "label 2") if width == 2 else ("label",))
    assert data.everything.labels.tolist() == values.reshape(12, -1).tolist()


# What labels look like

_WHOLE = [str(k * k * 7) for k in range(40)]


@pytest.mark.parametrize(
    ("cells", "task", "reason"),
    [
        (["cat", "dog"] * 9, "classification", None),
        (["0", "1"] * 9, "classification", None),
        ([str(k) for k in range(40)], "classification", None),
        (["007", "011", "012"] * 4, "classification", None),
        (["tench, Tinca", "goldfish, Carassius", "crane, bird", "crane, machine"] * 3,
         "classification", None),
        (["1", "3", "5"] * 9, "classification", "'y' holds 3 different whole numbers, each"),
        (["1", "1.5", "4"] * 9, "classification", "'y' holds 3 different half numbers, each"),
        (_WHOLE * 5, "classification", "'y' holds 40 different whole numbers, each of which"),
        (["850", "1200", "430", "99"], "regression", "'y' holds 4 different numbers in 4 rows"),
        (_WHOLE, "regression", "'y' holds 40 different numbers in 40 rows"),
        ([*_WHOLE, "n/a"], "regression", "'y' holds 40 different numbers in 40 rows"),
        (["0.2", "1.1", "7"] * 9, "regression", "'y' holds fractions, 3 different numbers"),
        (["0,2", "1,1", "7"] * 9, "regression", "'y' holds fractions, 3 different numbers"),
        ([*["0.2", "1.1", "7"] * 9, "inf"], "regression", "'y' holds fractions"),
        (["joy|love", "joy", "love", ""] * 3, "multilabel", "'|' joins 2 labels in 3 ways"),
        (["joy,love", "joy", "love"] * 3, "multilabel", "',' joins 2 labels in 3 ways"),
        (["1,2,3", "1,2", "2,3", "3"] * 3, "multilabel", "',' joins 3 labels in 4 ways"),
        (["joy|love", "joy", "anger"] * 3, "multilabel", "'|' joins 3 labels in 3 ways"),
        (["dog", "cat", "dog, toy"] * 3, "classification", None),
        (["life|bird|tit", "life|bird|owl", "life|fish"] * 3, "classification", "each"),
        (["a|b", "c|d"] * 3, "classification", "each of 2 different labels, such as 'a|b', is"),
        ([("a",), ("b", "a")] * 3, "multilabel", "'y' holds lists"),
        ([("3", "7"), ("7", "1")] * 3, "multilabel", "'y' holds lists"),
        ([("3.0", "7.0"), ("7.0", "1.0")] * 3, "regression", "'y 1', 'y 2' hold numbers"),
        ([("0", "1"), ("1", "1")] * 3, "multilabel", "'y 1', 'y 2' hold 0 and 1"),
        (["[0.5, -1]", "[7, 2]"] * 3, "regression", "'y 1', 'y 2' hold numbers"),
    ],
)  # fmt: skip
def test_a_column_looks_like_one_task(cells: list[Cell], task: str, reason: str | None) -> None:
    cells, columns = arranged(cells, ["y"])
    name, choices = detect(cells, columns=columns)
    assert name == task
    assert [choice.value for choice in choices] == [task] * (reason is not None)
    assert reason is None or choices[0].why.startswith(reason), choices[0].why
    assert detect(cells, columns=()) == ("classification", ())


def test_folders_are_classes_whatever_their_names(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"0.25": 3, "1.7": 3, "a|b": 3, "a": 3, "b": 3})
    data = opened(root)
    assert data.task.name == "classification" and not data.choices
    assert data.task.outputs == ("0.25", "1.7", "a", "a|b", "b")


def test_the_task_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", label=[1, 3, 5, 4] * 3)
    data = opened(path, modality="text")
    assert data.task.outputs == ("1", "3", "4", "5") and "; --task regression" in why(data)
    data = opened(path, modality="text", task="regression")
    assert data.everything.labels[:4, 0].tolist() == [1, 3, 5, 4] and not data.choices
    path = table(tmp_path / "j.csv", label=["a|b", "c|d"] * 6)
    data = opened(path, modality="text")
    assert data.task.outputs == ("a|b", "c|d") and "; --task multilabel overrules" in why(data)
    assert opened(path, modality="text", task="multilabel").task.outputs == ("a", "b", "c", "d")
    path = table(tmp_path / "c.csv", label=["joy|love", "joy", "love"] * 4)
    assert opened(path, modality="text", task="classification").task.outputs[1] == "joy|love"


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a|b, c", "b, c", "a"], "|"),
        (["a, b; c", "a, b", "c"], ";"),
        (["a, b", "c"], ","),
        (["a b", "c"], None),
        (["a|", "b"], None),
        ([("a", "b|c")], None),
    ],
)
def test_one_separator_joins_labels(cells: list[Cell], separator: str | None) -> None:
    assert separator_of(cells) == separator


# Columns


def test_label_columns_are_checked() -> None:
    for options in ({"label_columns": "a,b", "label_column": "c"}, {"label_columns": "a,,b"},
                    {"label_columns": "a,b,a"}):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            ReadOptions(**options)
        assert caught.value.thing == "--label-columns" and caught.value.remedy


def test_likely_label_columns_are_proposed(tmp_path: Path) -> None:
    columns = dict(zip(NAMES, zip(*FLAGS, strict=True), strict=True))
    error = refused(table(tmp_path / "t.csv", **columns), 65, "labels in 'anger,joy,love'")
    assert error.options == ("--label-columns", "anger,joy,love")
    error = refused(tmp_path / "t.csv", 65, "no column 'joy,love'", label_column="joy,love")
    assert error.options == ("--label-columns", "joy,love")
    pasted = amended(["adapt", "S", "t.csv", "--label-column", "joy,love"], error.options)
    assert pasted == "zooadapt adapt S t.csv --label-columns joy,love"
    error = refused(table(tmp_path / "p.csv", id=range(12), amount=PRICES), 65, "in 'amount'")
    assert error.options == ("--label-column", "amount")


def test_parts_have_the_same_label_columns(tmp_path: Path) -> None:
    columns = dict(zip(NAMES, zip(*FLAGS, strict=True), strict=True))
    table(tmp_path / "train.csv", **columns)
    options: dict[str, Any] = {"modality": "text", "label_columns": "anger,joy,love"}
    table(tmp_path / "test.csv", anger=[0, 1], love=[1, 1])
    error = refused(tmp_path, 65, r"'test\.csv' has no column 'joy', its columns are", **options)
    assert error.thing == "joy"
    table(tmp_path / "test.csv", other=[0, 1])
    assert len(opened(tmp_path, **options).everything) == 12
    table(tmp_path / "test.csv", love=[1, 1], joy=[0, 1], anger=[0, 1])
    assert opened(tmp_path, **options).test.labels.tolist() == [[0, 0, 1], [1, 1, 1]]


# Bad targets

_JOINED = ["joy|love", "anger", "anger|joy", "love"] * 3


@pytest.mark.parametrize(
    ("cells", "message", "task"),
    [
        ([*PRICES[:11], "NaN"], r"1 row of .* has no label: t\.csv:12", "auto"),
        ([*PRICES[:11], ""], r"1 row of .* has no label: t\.csv:12", "auto"),
        ([*PRICES[:11], "inf"], r"'t\.csv:12' has 'inf' in column 'label'", "auto"),
        ([*PRICES[:11], "nan"], r"'t\.csv:12' has 'nan' in column 'label'", "auto"),
        ([*PRICES[:11], "n/a"], r"'t\.csv:12' has 'n/a' in column 'label'", "auto"),
        ([3.25] * 12, "every training sample has 3.25 in column 'label'", "auto"),
        (["cat", "dog"] * 6, r"'t\.csv:1' has 'cat' in column 'label'", "regression"),
        ([*_JOINED[:11], "joy|joy"], r"'t\.csv:12' has the label 'joy' twice", "auto"),
        ([*_JOINED[:11], "joy|envy"], "label 'envy' is on a single training sample", "auto"),
        ([f"{cell}|all" for cell in _JOINED], "label 'all' is on every training sample", "auto"),
        ([""] * 12, "12 rows of .* have no label", "auto"),
        ([""] * 12, "no row of .* has a label", "multilabel"),
    ],
)
def test_bad_targets_are_named(cells: list[Any], message: str, task: str, tmp_path: Path) -> None:
    refused(table(tmp_path / "t.csv", label=cells), 65, message, task=task)


def test_bad_cells_of_several_columns_are_named(tmp_path: Path) -> None:
    columns = {"joy": [0, 1] * 6, "love": [1, 1, 0] * 4}
    both = {"label_columns": "joy,love"}
    path = table(tmp_path / "t.csv", **columns | {"joy": [0, 1, "yes!", 0] * 3})
    refused(path, 65, r"'t\.csv:3' has 'yes!' in column 'joy'", **both)
    path = table(tmp_path / "t.csv", **columns | {"joy": ["cat", "dog"] * 6})
    error = refused(path, 65, "column 'joy' holds 'cat'", **both)
    assert error.remedy == "--label-column joy reads it as classes"
    path = table(tmp_path / "t.csv", **columns | {"joy": [0] * 12})
    refused(path, 65, "label 'joy' is on no training sample", **both)
    path = table(tmp_path / "t.csv", **columns | {"joy": [*PRICES[:11], "x"]})
    refused(path, 65, r"'t\.csv:12' has 'x' in column 'joy'", **both)


def test_a_label_of_the_test_part_alone_is_named(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", label=_JOINED)
    table(tmp_path / "test.csv", label=["joy|hope", "anger"])
    refused(tmp_path, 65, "label 'hope' is on no training sample", modality="text")


def test_lists_and_names_do_not_mix_in_a_column(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", label=[["a"], "b", ["a", "b"]])
    refused(path, 65, r"line 2 of 't\.jsonl' has no list in 'label', and the rows above it have")
    path = table(tmp_path / "t.jsonl", label=["a", ["b"], "b"])
    refused(path, 65, r"line 2 of 't\.jsonl' has a list in 'label', and the rows above it have no")
    path = table(tmp_path / "t.parquet", label=[[["a"]], [["b"]]])
    refused(path, 65, r"'t\.parquet:1' has a list of list in 'label'")


# Models


def test_a_model_is_measured_on_labels_in_another_form(tmp_path: Path) -> None:
    """Its task tells how they are read, and few of them suffice."""
    columns = dict(zip(NAMES, zip(*FLAGS, strict=True), strict=True))
    flags = table(tmp_path / "flags.csv", **columns)
    out, settings = tmp_path / "out", inference.Settings(cache_gb=0, precision="fp32")
    reading = ReadOptions(label_columns=",".join(NAMES))
    adapt(
        Request(source="rnn:english", data=str(flags), out=out, strategy="probe", cache_gb=0,
                reading=reading),
        Progress(),
    )  # fmt: skip
    joined = table(tmp_path / "joined.csv", label=["joy", "", "joy"])
    figures, task = inference.evaluate(str(out), str(joined), settings, Progress())
    assert task.outputs == NAMES and figures.n == 3
    inference.features(
        "rnn:english", str(flags), tmp_path / "f.safetensors",
        inference.Settings(cache_gb=0, precision="fp32", reading=reading), Progress(),
    )  # fmt: skip
    assert load_file(tmp_path / "f.safetensors")["labels"].tolist() == FLAGS
    named = inference.Settings(reading=ReadOptions(task="regression"))
    with pytest.raises(UsageError, match="--task regression is not the task of the model, which"):
        inference.evaluate(str(out), str(joined), named, Progress())
