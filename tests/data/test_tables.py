"""Tables of texts: every format preserves texts verbatim; a broken file is a one-line error."""

from __future__ import annotations

import io
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from zooadapt.data import ReadOptions, open_inputs
from zooadapt.errors import DataError, ZooadaptError

from .make import csv_file, opened, refused

TEXTS = ["plain", 'she said "no"', "a, b; c", "two\nlines", "  spaces  ", "ü 🙂 \u2028 \x0c x",
         "=1+1", "NA", "007", "nan"]  # fmt: skip
LABELS = ["a", "b"] * 5


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _csv(path: Path, delimiter: str = ",") -> None:
    lines = [f"text{delimiter}n{delimiter}label"]
    lines += [f"{_quoted(t)}{delimiter}1{delimiter}{label}"
              for t, label in zip(TEXTS, LABELS, strict=True)]  # fmt: skip
    path.write_bytes("\n".join(lines).encode())


def _jsonl(path: Path) -> None:
    rows = [{"label": label, "text": text} for text, label in zip(TEXTS, LABELS, strict=True)]
    path.write_bytes("\r\n".join(json.dumps(r, ensure_ascii=False) for r in rows).encode())


def _arrow_table() -> pa.Table:
    return pa.table({"text": TEXTS, "label": pa.array(LABELS).dictionary_encode(), "x": [[1]] * 10})


def _arrow(path: Path, new: Callable[..., pa.RecordBatchWriter] = pa.ipc.new_file) -> None:
    with new(str(path), _arrow_table().schema) as writer:
        writer.write_table(_arrow_table(), max_chunksize=3)


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "CSV": ("t.csv", _csv),
    "TSV": ("t.tsv", lambda path: _csv(path, "\t")),
    "upper case": ("t.CSV", _csv),
    "JSON lines": ("t.jsonl", _jsonl),
    "NDJSON": ("t.ndjson", _jsonl),
    "Parquet": ("t.parquet", lambda p: parquet.write_table(_arrow_table(), p, row_group_size=4)),
    "Arrow": ("t.arrow", _arrow),
    "Arrow stream": ("t.arrow", lambda path: _arrow(path, pa.ipc.new_stream)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_preserves_texts_verbatim(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)
    data = opened(tmp_path / name, modality="text")
    whole = data.everything
    assert [whole.raw(k) for k in range(len(whole))] == TEXTS
    assert [data.classes[k] for k in whole.labels] == LABELS
    assert list(whole.ids) == [f"{name}:{row}" for row in range(1, 11)]


def test_formats_have_one_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for name, write in WRITERS.values():
        write(tmp_path / name)
        prints.add(opened(tmp_path / name, modality="text").fingerprint)
    assert len(prints) == 1


def test_parts_may_be_numbered_tables(tmp_path: Path) -> None:
    for part, pieces in (("train", 3), ("test", 1)):
        for k in range(pieces):
            table = pa.table({"text": [f"{part} {k} {i}" for i in range(4)],
                              "label": ["a", "b"] * 2})  # fmt: skip
            parquet.write_table(table, tmp_path / f"{part}-{k:05}-of-{pieces:05}.parquet")
    data = opened(tmp_path, modality="text")
    assert data.has_own_test and (len(data.train), len(data.test)) == (12, 4)
    assert data.train.raw(11) == "train 2 3" and data.test.raw(0) == "test 0 0"
    csv_file(tmp_path / "train.csv")
    refused(tmp_path, 65, "'train.csv' .* means the same part as 'train.parquet'", modality="text")


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", header="sentence,class")
    data = opened(path, modality="text", text_column="sentence", label_column="class")
    assert data.everything.raw(3) == "four" and data.classes == ("a", "b")


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("name", ["utf-8", "UTF8", "utf_8"])
def test_a_byte_order_mark_is_no_part_of_the_header(bom: bytes, name: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv")
    path.write_bytes(bom + path.read_bytes())
    assert opened(path, modality="text", encoding=name).everything.raw(0) == "one"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "shift-jis"])
def test_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    text = "日本" if encoding == "shift-jis" else "café"
    path = csv_file(tmp_path / "t.csv", f"{text},a")
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert opened(path, modality="text", encoding=encoding).everything.raw(4) == text


def test_an_invalid_byte_is_named_by_its_offset(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv")
    start = path.read_bytes()
    path.write_bytes(start + "café,a\n".encode("latin-1"))
    error = refused(path, 65, rf"'t\.csv' is not utf-8: byte {len(start) + 3} is 0xe9")
    assert "--encoding latin-1" in error.remedy
    path.write_bytes(start.decode().encode("utf-16"))
    error = refused(path, 65, "byte 0 is 0xff", encoding="utf-8")
    assert error.options == ("--encoding", "utf-16")


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv")
    refused(path, 65, "no encoding 'utf-9'", encoding="utf-9")
    refused(path, 65, "no encoding 'hex'|not hex", encoding="hex")
    refused(path, 65, "not idna|not utf-7|is not", encoding="undefined")


def test_a_missing_column_lists_the_columns(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", header="sentence,class")
    error = refused(path, 65, "no column 'text', its columns are 'sentence', 'class'")
    assert error.thing == "text" and "--text-column" in error.remedy
    error = refused(path, 65, "no column 'label'", text_column="sentence")
    assert "--label-column" in error.remedy


@pytest.mark.parametrize("kind", ["Parquet", "Arrow", "JSON lines"])
def test_a_missing_column_is_named_in_every_format(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)
    refused(tmp_path / name, 65, "no column 'body', its columns are", text_column="body")


def test_duplicate_column_names_are_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"x{k},{'ab'[k % 2]},y" for k in range(4))
    (tmp_path / "t.csv").write_text("text,label,label\n" + rows)
    refused(tmp_path / "t.csv", 65, "two columns named 'label'")
    table = pa.Table.from_arrays([pa.array(["x"])] * 3, names=["text", "text", "label"])
    parquet.write_table(table, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", 65, "two columns named 'text'")
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    refused(tmp_path / "t.arrow", 65, "two columns named 'text'")


def test_duplicates_among_many_columns_are_found_quickly(tmp_path: Path) -> None:
    """A quadratic search takes minutes of processor time."""
    names = [*map(str, range(100_000)), "text", "label", "label"]
    (tmp_path / "t.csv").write_text(",".join(names) + "\n")
    before = time.process_time()
    refused(tmp_path / "t.csv", 65, "two columns named 'label'")
    assert time.process_time() - before < 10


@pytest.mark.parametrize("empty", ["", '""', "  ", "NaN"])
def test_unlabelled_rows_are_named_or_dropped(empty: str, tmp_path: Path) -> None:
    rows = [f"x,{empty}", "y,a", f"z,{empty}"]
    path = csv_file(tmp_path / "t.csv", *rows)
    error = refused(path, 65, r"2 rows of .* have no label: t\.csv:5, t\.csv:7")
    assert "--drop-unlabelled" in error.remedy
    data = opened(path, modality="text", drop_unlabelled=True)
    assert "2 rows without a label left out" in data.notes
    assert list(data.everything.ids)[-1] == "t.csv:6" and data.everything.raw(4) == "y"
    assert data.classes == ("a", "b")


def test_missing_labels_in_parquet_and_json_are_recognised(tmp_path: Path) -> None:
    texts = [str(k) for k in range(8)]
    for labels in ([1.0, 2.0, float("nan"), None] * 2, ["1", "2", None, ""] * 2):
        table = pa.table({"text": texts, "label": labels})
        parquet.write_table(table, tmp_path / "t.parquet")
        refused(tmp_path / "t.parquet", 65, "4 rows of .*: t.parquet:3, t.parquet:4")
        data = opened(tmp_path / "t.parquet", modality="text", drop_unlabelled=True)
        assert data.classes == ("1", "2") and len(data.everything) == 4
        rows = [json.dumps(row) for row in table.to_pylist()]
        (tmp_path / "t.jsonl").write_text("\n".join(rows) + '\n{"text": "x"}\n')
        refused(tmp_path / "t.jsonl", 65, "5 rows of .* have no label")


def test_a_table_without_any_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,\nb,\n")
    refused(tmp_path / "t.csv", 65, "no row .* has a label", drop_unlabelled=True)


def test_an_overlong_text_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", "x" * 10_000_000 + ",a", "y,b")
    refused(path, 65, r"row 5 of 't\.csv' has a text of 10,000,000 .*limit is 1,000,000")
    path = csv_file(tmp_path / "t.csv", "x" * 200_000 + ",a", "y,b")
    assert len(opened(path, modality="text").everything.raw(4)) == 200_000


def test_a_text_longer_than_a_block_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", "x" * (200 << 20) + ",a")
    refused(path, 65, "limit is 1,000,000")


def test_a_ragged_row_is_named_by_its_line(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "t.csv", "", '"two\nlines",a', "three,fields,here", "x,a")
    error = refused(path, 65, r"line 9 of 't\.csv' has 3 fields, the header has 2")
    assert "quote" in error.remedy
    refused(csv_file(tmp_path / "t.csv", "one"), 65, "line 6 .* has 1 fields")


def test_a_nul_byte_is_named_by_its_line(tmp_path: Path) -> None:
    refused(
        csv_file(tmp_path / "t.csv", "x,a", "y\0,b"), 65, r"'t\.csv' holds a NUL byte in line 7"
    )


@pytest.mark.parametrize(
    "rows",
    [
        ['"never closed,a', "x,b"],
        ['"closed,a', 'by a "quote" further on,b', "y,a"],
        ['"closed,a', '"by the next row,b', "y,a"],
        ["x,a", 'y,"b'],
    ],
)
def test_an_unclosed_quote_is_named_by_its_line(rows: list[str], tmp_path: Path) -> None:
    line = 6 if rows[0].startswith('"') else 7
    path = csv_file(tmp_path / "t.csv", *rows)
    error = refused(path, 65, rf"'t\.csv' has a quote that is not closed in line {line}")
    assert "close it" in error.remedy


def test_quotes_inside_fields_are_read(tmp_path: Path) -> None:
    rows = ['5" pipe,a', '6" and 7" pipes,b', 'it"s,a', '"said ""so""",b', '"a\n\n""b"",\n",a',
            '"",b', '"""",a', '"Foo" bar,b']  # fmt: skip
    whole = opened(csv_file(tmp_path / "t.csv", *rows), modality="text").everything
    read = ['5" pipe', '6" and 7" pipes', 'it"s', 'said "so"', 'a\n\n"b",\n', "", '"', "Foo bar"]
    assert [whole.raw(k) for k in range(4, 12)] == read


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_random_quoted_texts_round_trip(name: str, tmp_path: Path) -> None:
    """Random texts of special characters."""
    rng = random.Random(7)
    delimiter = "\t" if name.endswith("tsv") else ","
    texts = ["".join(rng.choices('",\t\n\r;|a ', k=rng.randrange(9))) for _ in range(3000)]
    lines = [f"text{delimiter}label"]
    lines += [f"{_quoted(t)}{delimiter}{'ab'[k % 2]}" for k, t in enumerate(texts)]
    (tmp_path / name).write_bytes("\n".join(lines).encode())
    whole = opened(tmp_path / name, modality="text").everything
    assert [whole.raw(k) for k in range(len(texts))] == texts


def test_damaged_csv_is_read_or_a_one_line_error(tmp_path: Path) -> None:
    rng = random.Random(11)
    path = tmp_path / "t.csv"
    good = csv_file(path, '"quoted, text",a', '"two\nlines",b').read_bytes()
    refusals = 0
    for _ in range(600):
        content = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.choice(b'",\n\r\0x\xff;')
        path.write_bytes(content[: rng.randrange(1, len(content) + 20)])
        try:
            opened(path, modality="text", allow_tiny=True)
        except ZooadaptError as error:
            assert error.code in (65, 66) and error.thing and error.remedy
            assert "\n" not in str(error), str(error)
            refusals += 1
    assert 0 < refusals < 600


@pytest.mark.parametrize("content", ["text,label\n", "text,label", "", "\n\n"])
def test_a_table_without_rows_is_not_found(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    refused(tmp_path / "t.csv", 66, r"'t\.csv' (has no rows|is empty)")


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet", "t.arrow"])
def test_other_formats_without_rows_are_not_found(name: str, tmp_path: Path) -> None:
    table = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    if name == "t.jsonl":
        (tmp_path / name).write_text("\n")
    elif name == "t.parquet":
        parquet.write_table(table, tmp_path / name)
    else:
        with pa.ipc.new_file(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    refused(tmp_path / name, 66, f"'{name}' has no rows")


def test_labels_stay_verbatim_and_similar_ones_are_noted(tmp_path: Path) -> None:
    rows = [f"{k} {label},{label}" for label in ("1", "1.0", " b", "B", "nan") for k in range(2)]
    data = opened(csv_file(tmp_path / "t.csv", *rows), modality="text")
    assert data.classes == (" b", "1", "1.0", "B", "a", "b", "nan")
    note = next(note for note in data.notes if note.startswith("classes that differ only in"))
    assert all(repr(name) in note for name in (" b", "1", "1.0", "B", "b")) and "'a'" not in note


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{text: 1}", "is no JSON: "),
        ("[1, 2]", "is no JSON object"),
        ('{"text": "x", "label": ["a", "b"]}', "has a list in 'label', and the rows above it have"),
        ('{"text": "\\ud800", "label": "a"}', "surrogate"),
        ("[" * 100_000, "is no JSON: "),
        ('{"text": ' + "9" * 5000 + ', "label": "a"}', "is no JSON: "),
    ],
)
def test_a_broken_json_line_is_named(line: str, what: str, tmp_path: Path) -> None:
    good = '{"text": "x", "label": "a"}\n'
    (tmp_path / "t.jsonl").write_text(good + "\n" + line + "\n" + good)
    refused(tmp_path / "t.jsonl", 65, rf"line 3 of 't\.jsonl' .*{what}")


def test_json_numbers_are_labels_as_spelled(tmp_path: Path) -> None:
    rows = [{"text": f"{k}", "label": label} for label in (1, 1.5, True, "x") for k in "ab"]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert opened(tmp_path / "t.jsonl", modality="text").classes == ("1", "1.5", "true", "x")


@pytest.mark.parametrize("kind", ["Parquet", "Arrow"])
def test_a_damaged_binary_table_is_refused(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PAR1", whole[:-8] + b"\xff" * 8, b"x" * 999):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, 65, f"'{name}' is no whole {kind} file")


def test_an_arrow_file_with_invalid_utf8_is_refused(tmp_path: Path) -> None:
    offsets, content = pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")
    broken = pa.StringArray.from_buffers(2, offsets, content)
    table = pa.table({"text": broken, "label": ["x", "y"]})
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    refused(tmp_path / "t.arrow", 65, "'t.arrow' is no whole Arrow file: .*UTF8")


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    table = pa.table({"text": [["a"], ["b"]], "label": ["x", "y"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", 65, "column 'text' .* has type list.*, no text")
    table = pa.table({"text": [b"\xff", b"b"], "label": ["x", "y"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", 65, "column 'text' .* has type binary, no text")


def test_rows_with_an_empty_text_are_noted(tmp_path: Path) -> None:
    data = opened(csv_file(tmp_path / "t.csv", ",a", '"",b'), modality="text")
    assert "2 rows of t.csv have an empty text" in data.notes and data.everything.raw(4) == ""


def piped(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for content, message in (
        (b"caf\xe9\n", "'stdin' is not utf-8: byte 3 is 0xe9"),
        (b"one\na\0b\n", "'stdin' holds a NUL byte in line 2"),
    ):
        monkeypatch.setattr(sys, "stdin", piped(content))
        with pytest.raises(DataError, match=message):
            open_inputs(["-"], modality="text")
    monkeypatch.setattr(sys, "stdin", piped(b"caf\xe9\r\n"))
    split = open_inputs(["-"], modality="text", options=ReadOptions(encoding="latin-1"))
    assert split.raw(0) == "café"


def test_inputs_are_lines_tables_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.txt").write_bytes("\ufeffa\u2028b\r\n\r\n c \x85d".encode())
    csv_file(tmp_path / "t.csv", header="text,other")
    monkeypatch.setattr(sys, "stdin", piped("in 1\nin\u2028 2".encode()))
    names = [str(tmp_path / "t.csv"), "-", str(tmp_path / "lines.txt")]
    split = open_inputs(names, modality="text")
    lines = ["in 1", "in\u2028 2", "a\u2028b", "", " c \x85d"]
    assert [split.raw(k) for k in range(len(split))] == ["one", "two", "three", "four", *lines]
    assert list(split.ids)[3:7] == ["t.csv:4", "stdin:1", "stdin:2", "lines.txt:1"]
    assert (split.labels == -1).all()
    with pytest.raises(IndexError):
        split.raw(len(split))


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    assert ".csv" in refused(tmp_path / "t.xlsx", 65, "'t.xlsx' is no table").remedy
    (tmp_path / "set").mkdir()
    refused(tmp_path / "set", 65, "'set' holds no train table", modality="text")
