"""Columns and labels: likely columns are proposed, equal values are one class, unnamed columns and
unlabelled parts are ignored."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import load_file

from zooadapt.data import ReadOptions, open_inputs
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.training.setup import divide
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo import registry

from .make import csv_file, opened, refused

TEXTS = [f"a sentence about the number {k}, more or less" for k in range(12)]
KINDS = ["good", "bad"] * 6


def _table(path: Path, **columns: list) -> Path:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(table.to_pylist(), indent=1))
    else:
        rows = [",".join(f'"{value}"' for value in row.values()) for row in table.to_pylist()]
        path.write_text("\n".join([",".join(columns), *rows]))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet", ".arrow"])
@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"id": range(12), "Satz": TEXTS, "Klasse": KINDS}, "Satz", "Klasse"),
        ({"v1": KINDS, "v2": ["short"] * 12}, "v2", "v1"),
        ({"Review_Text": TEXTS, "title": TEXTS, "Sentiment": KINDS}, "Review_Text", "Sentiment"),
        ({"text": TEXTS, "category": KINDS, "fold": [1, 2] * 6}, None, "category"),
        ({"tweet": TEXTS, "label": KINDS}, "tweet", None),
    ],
)
def test_likely_columns_are_proposed(columns, text, label, suffix: str, tmp_path: Path) -> None:
    path = _table(tmp_path / f"t{suffix}", **{name: list(v) for name, v in columns.items()})
    error = refused(path, 65, "has no column '(text|label)', its columns are .*; it seems to have")
    options = (("--text-column", text), ("--label-column", label))
    assert error.options == tuple(part for pair in options if pair[1] for part in pair)
    assert error.remedy == shlex.join(error.options)
    data = opened(path, modality="text", text_column=text or "text", label_column=label or "label")
    assert data.classes == ("bad", "good")


@pytest.mark.parametrize(
    "columns",
    [
        {"a": TEXTS, "b": TEXTS[::-1], "kind": KINDS},
        {"a": TEXTS, "kind": KINDS, "fold": KINDS[::-1]},
        {"a": TEXTS, "b": TEXTS},
        {"sentence": TEXTS, "review": TEXTS, "label": KINDS},
    ],
)
def test_ambiguous_columns_are_not_proposed(columns, tmp_path: Path) -> None:
    error = refused(_table(tmp_path / "t.csv", **columns), 65, "no column 'text'")
    assert not error.options and error.remedy == "--text-column NAME"


def test_the_proposed_command_runs(tmp_path: Path) -> None:
    _table(tmp_path / "my table.csv", tweet=TEXTS, kind=KINDS)
    source = next(name for name, (family, _) in registry.bundled().items() if family == "rnn")
    command = [sys.executable, "-m", "zooadapt", "adapt", source, "my table.csv", "-o", "out"]
    command += ["--strategy", "probe", "--text-column=no such", "--label-column", "kind"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    pasted = line.partition(". Try: ")[2]
    assert done.returncode == 65 and pasted == (
        f"zooadapt adapt {source} 'my table.csv' -o out --strategy probe --label-column kind "
        "--text-column tweet"
    )
    words = [sys.executable, "-m", *shlex.split(pasted), "--plan"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("note: no test part: ")


def test_a_file_without_a_header_is_refused(tmp_path: Path) -> None:
    lines = [f'{kind},"{text}"' for text, kind in zip(TEXTS, KINDS, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    error = refused(tmp_path / "t.csv", 65, "seems to have no header: its first line, 'good', 'a s")
    assert "text,label" in error.remedy
    (tmp_path / "t.tsv").write_text("\n".join(f"{k}\t{text}" for k, text in enumerate(TEXTS)))
    refused(tmp_path / "t.tsv", 65, "seems to have no header: its first line, '0', 'a s")


def test_unnamed_columns_are_ignored(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", header="v1,v2,,,,x,x")
    rows = [f'{"ab"[k % 2]},"text {k}",,,,,' for k in range(8)]
    path.write_text("\n".join(["v1,v2,,,,x,x", *rows]))
    data = opened(path, modality="text", text_column="v2", label_column="v1")
    assert data.everything.raw(7) == "text 7" and data.classes == ("a", "b")
    refused(path, 65, "two columns named 'x'", text_column="v2", label_column="x")


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [
        (["0", "1"], ["0.0", "1.0"], ("0", "1")),
        (["0,5", "1,0"], ["0.50", "1"], ("0.5", "1")),
        (["True", "False"], ["true", "false"], ("false", "true")),
        (["-1", "1e1"], ["-1.0", "10"], ("-1", "10")),
    ],
)
def test_equal_numbers_and_truth_values_are_one_class(train, test, classes, tmp_path) -> None:
    for part, names in (("train", train), ("test", test)):
        _table(tmp_path / f"{part}.csv", text=TEXTS[:4], label=names * 2)
    data = opened(tmp_path, modality="text")
    assert data.classes == classes and data.has_own_test
    assert sorted(data.test.labels.tolist()) == [0, 0, 1, 1]


def test_values_are_one_class_across_formats(tmp_path: Path) -> None:
    _table(tmp_path / "train.parquet", text=TEXTS, label=[0.0, 1.0] * 6)
    _table(tmp_path / "val.csv", text=TEXTS[:2], label=["1", "0"])
    _table(tmp_path / "test.jsonl", text=TEXTS[:2], label=[1.0, 0.0])
    assert opened(tmp_path, modality="text").classes == ("0", "1")


@pytest.mark.parametrize("names", [["007", "7"], ["1", "1.0", "x"], ["true", "True", "yes"]])
def test_other_labels_stay_verbatim_and_twins_are_noted(names, tmp_path: Path) -> None:
    labels = [names[k % len(names)] for k in range(12)]
    data = opened(_table(tmp_path / "t.csv", text=TEXTS, label=labels), modality="text")
    assert data.classes == tuple(sorted(names))
    twins = [note for note in data.notes if note.startswith("classes that differ only in")]
    count = 12 // len(names)
    assert [f"'{name}' ({count})" in twins[0] for name in names[:2]] == [True, True]


@pytest.mark.parametrize(("train", "test"), [("ham", "Ham "), ("1", "1.0")])
def test_a_misspelled_test_class_names_its_twin(train: str, test: str, tmp_path: Path) -> None:
    _table(tmp_path / "train.csv", text=TEXTS, label=[train, "x"] * 6)
    _table(tmp_path / "test.csv", text=TEXTS[:2], label=[test, "x"])
    error = refused(tmp_path, 65, f"class '{test}' is in the test part only; the training part "
                    f"has '{train}'", modality="text")  # fmt: skip
    assert error.remedy == "spell it alike in all parts"


def _metadata(names: object) -> dict[bytes, bytes]:
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def test_class_names_in_parquet_metadata_are_used(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "label": [0, 1, -1] * 4})
    path = tmp_path / "t.parquet"
    parquet.write_table(table.replace_schema_metadata(_metadata(["ham", "spam"])), path)
    data = opened(path, modality="text", drop_unlabelled=True)
    assert data.classes == ("ham", "spam") and len(data.everything) == 8
    parquet.write_table(table.replace_schema_metadata(_metadata(["ham"])), path)
    refused(path, 65, "has a label 1, and its metadata names 1 of 'label'")
    for odd in (None, 3, ["a", 3], "ab"):
        parquet.write_table(table.replace_schema_metadata(_metadata(odd)), path)
        assert opened(path, modality="text").classes == ("-1", "0", "1")
    parquet.write_table(table.replace_schema_metadata({b"huggingface": b"[" * 9000}), path)
    assert opened(path, modality="text").classes == ("-1", "0", "1")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.json", "t.jsonl.gz", "t.json.gz"])
def test_compressed_tables_and_json_arrays_are_read(name: str, tmp_path: Path) -> None:
    inner = _table(tmp_path / name.removesuffix(".gz"), text=TEXTS, label=KINDS)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(inner.read_bytes()))
        inner.unlink()
    data = opened(tmp_path / name, modality="text")
    assert [data.everything.raw(k) for k in range(12)] == TEXTS
    assert data.everything.ids[2] == f"{name}:3"
    (tmp_path / name).rename(tmp_path / f"train{name[1:]}")
    assert len(opened(tmp_path, modality="text").everything) == 12


@pytest.mark.parametrize("cut", [5, 12, -6])
def test_a_broken_compressed_file_is_named(cut: int, tmp_path: Path) -> None:
    whole = gzip.compress(b"text,label\n" + b"x,a\ny,b\n" * 99)
    (tmp_path / "t.csv.gz").write_bytes(whole[:cut])
    refused(tmp_path / "t.csv.gz", 65, "'t.csv.gz' is no whole gzip file")
    (tmp_path / "t.csv.gz").write_text("text,label\nx,a\n")
    refused(tmp_path / "t.csv.gz", 65, "'t.csv.gz' is no whole gzip file")


def test_a_decompressed_file_has_a_size_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zooadapt.data.reading._MAX_UNPACKED", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"x,a\n" * 999))
    refused(tmp_path / "t.csv.gz", 65, "holds more than 1,000 bytes")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"text": "x", "label": "a"}, 7]', "row 2 of 't.json' is no JSON object"),
        ('[{"text": "x", "label": {}}]', "row 1 of 't.json' has a dict, no text"),
        ('[{"text": "x"', "line 1 of 't.json' is no JSON"),
    ],
)
def test_a_broken_json_array_is_named(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(content)
    refused(tmp_path / "t.json", 65, words)


def test_a_test_table_without_labels_is_left_out(tmp_path: Path) -> None:
    _table(tmp_path / "train.csv", text=TEXTS, label=KINDS)
    for columns in ({"text": TEXTS[:3]}, {"text": TEXTS[:3], "label": ["", "NaN", ""]}):
        _table(tmp_path / "test.csv", **columns)
        data = opened(tmp_path, modality="text")
        assert not data.has_own_test and len(data.everything) == 12
        assert "the test part (3 samples) has no labels, so it is left out" in data.notes
    _table(tmp_path / "test.csv", text=TEXTS[:3], label=["good", "", "bad"])
    refused(tmp_path, 65, "1 row of .* has no label", modality="text")


def test_a_validation_part_is_held_out(tmp_path: Path) -> None:
    for part, name in (("train", "train.tsv"), ("val", "dev.tsv"), ("test", "test.csv")):
        separator = "\t" if name.endswith("tsv") else ","
        lines = [f"{part} {k}{separator}{'ab'[k % 2]}" for k in range(8)]
        (tmp_path / name).write_text("\n".join([f"text{separator}label", *lines]))
    data = opened(tmp_path, modality="text")
    train, val = data.train_and_val()
    assert [len(part) for part in (data.train, train, val, data.test)] == [16, 8, 8, 8]
    assert {val.raw(k)[:3] for k in range(8)} == {"val"}
    assert any(note.startswith("the validation part, 8 samples, compares") for note in data.notes)
    with (tmp_path / "dev.tsv").open("a") as file:
        file.write("\ntrain 3\tb\ntrain 4\ta")
    more = opened(tmp_path, modality="text")
    assert "2 validation samples have the same content as a training sample" in more.notes
    swapped = tmp_path / "dev.tsv", tmp_path / "train.tsv"
    contents = [path.read_bytes() for path in swapped]
    for path, content in zip(swapped, contents[::-1], strict=True):
        path.write_bytes(content)
    assert opened(tmp_path, modality="text").fingerprint != more.fingerprint
    (tmp_path / "dev.tsv").write_text("text\tlabel\nx\tc\ny\tc\n")
    data = opened(tmp_path, modality="text")
    assert data.train_and_val() is None
    assert "the validation part joins the training part, which lacks a class of it" in data.notes


@pytest.mark.parametrize(("options", "own"), [({}, True), ({"labels_per_class": 6}, False)])
def test_epochs_are_compared_on_the_validation_part(options, own: bool, tmp_path: Path) -> None:
    for part, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        texts = [f"{part} {k}" for k in range(8)]
        _table(tmp_path / f"{name}.csv", text=texts, label=["a", "b"] * 4)
    data = opened(tmp_path, modality="text")
    request = Request(source="s", data="d", out=tmp_path / "out", strategy="full", **options)
    splits = divide(request, data, holds_out=True)
    assert (sorted(splits["val"].ids) == [f"dev.csv:{k}" for k in range(1, 9)]) == own
    assert len(splits["train"]) + len(splits["val"]) == (16 if own else 12)
    assert len(divide(request, data, holds_out=False)["train"]) == (16 if own else 12)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet", ".arrow"])
def test_two_text_columns_make_pairs(suffix: str, tmp_path: Path) -> None:
    """Equal as strings, ("a", "b\\nc") and ("a\\nb", "c") are different samples."""
    first, second = ["a", "a\nb", "", "x"], ["b\nc", "c", "y", ""]
    path = _table(tmp_path / f"t{suffix}", a=first * 2, label=KINDS[:8], b=second * 2)
    data = opened(path, modality="text", text_column="a, b")
    pairs = [data.everything.raw(k) for k in range(8)]
    assert [(pair.first, pair.second) for pair in pairs] == [*zip(first, second, strict=True)] * 2
    assert pairs[0] == pairs[1] == "a\nb\nc" and len(set(data.everything.digests)) == 4
    assert copy.deepcopy(pairs[0]).second == pickle.loads(pickle.dumps(pairs[0])).second == "b\nc"
    inputs = open_inputs([str(path)], modality="text", options=ReadOptions(text_column="a,b"))
    assert inputs.digests == data.everything.digests and inputs.raw(2).second == "y"
    refused(path, 65, "no column 'c', its columns are 'a', 'label', 'b'", text_column="a,c")
    refused(path, 2, "'a,b,label' names 3 columns", text_column="a,b,label")


def test_a_column_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    rows = [f'"text {k}",{"xy"[k % 2]}' for k in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(['"a,b",label', *rows]))
    data = opened(tmp_path / "t.csv", modality="text", text_column="a,b")
    assert data.everything.raw(3) == "text 3"


def test_class_names_of_a_model_match_by_value(tmp_path: Path) -> None:
    """Models of older versions have the spelling of the file."""
    path = _table(tmp_path / "t.csv", text=TEXTS, label=["0", "1"] * 6)
    source = next(name for name, (family, _) in registry.bundled().items() if family == "rnn")
    out = tmp_path / "out"
    request = Request(source=source, data=str(path), out=out, strategy="probe", cache_gb=0)
    adapt(request, Progress())
    settings = inference.Settings(cache_gb=0, precision="fp32")
    metrics, _ = inference.evaluate(str(out), str(path), settings, Progress())
    config = out / "config.json"
    config.write_text(config.read_text().replace('"0"', '"0.0"').replace('"1"', '"1.0"'))
    again, task = inference.evaluate(str(out), str(path), settings, Progress())
    assert task.outputs == ("0.0", "1.0") and again.n == metrics.n == 12
    assert again.accuracy == metrics.accuracy > 0.5
    assert again.confusion.counts.tolist() == metrics.confusion.counts.tolist()


def test_a_family_without_pairs_reads_the_two_texts_as_lines(tmp_path: Path) -> None:
    first, second = TEXTS[:4], TEXTS[4:8]
    pair = _table(tmp_path / "pair.csv", a=first, b=second)
    joined = [f"{one}\n{other}" for one, other in zip(first, second, strict=True)]
    text = _table(tmp_path / "text.jsonl", text=joined)
    source = next(name for name, (family, _) in registry.bundled().items() if family == "rnn")
    rows = []
    for path, column in ((pair, "a,b"), (text, "text")):
        out = tmp_path / f"{path.stem}.safetensors"
        reading = ReadOptions(text_column=column)
        settings = inference.Settings(cache_gb=0, precision="fp32", reading=reading)
        inference.features(source, str(path), out, settings, Progress())
        rows.append(load_file(out)["features"])
    assert (rows[0] == rows[1]).all() and rows[0].shape[0] == 4
