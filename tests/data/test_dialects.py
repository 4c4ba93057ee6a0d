"""Delimited files: separator, quotes and encoding are detected, noted, and set by options."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from zooadapt.data import dialects
from zooadapt.data.dialects import SEPARATORS, sniff

from .make import opened, refused

TEXTS = ["I like it, really; very much", "Don't buy it", "it is 5,90 a piece; too much",
         "'tis the season, buy now", "a | b, and more", "she said \"no\", I'd say"]  # fmt: skip
ROWS = [(f"{TEXTS[k % 6]} {k}", "pos" if k % 2 else "neg") for k in range(24)]


def csv_text(separator: str = ",", quote: str = '"', end: str = "\n", header=("text", "label")):
    """The rows in this dialect."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, quotechar=quote, lineterminator=end)
    writer.writerows([header, *ROWS])
    return buffer.getvalue()


def read(path: Path, **options: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    data = opened(path, modality="text", **options)
    whole = data.everything
    rows = [(str(whole.raw(k)), data.classes[whole.labels[k]]) for k in range(len(whole))]
    return rows, whole.notes


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    ("separator", "name"), [(",", ""), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_every_separator_is_detected(separator, name, quote, end, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(csv_text(separator, quote, end), newline="")
    rows, notes = read(tmp_path / "t.csv")
    assert rows == ROWS
    assert (f"separated by {name} (--separator overrules)" in " ".join(notes)) == bool(name)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_rows_reveal_the_separator_under_an_unusual_header(separator, tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text(separator, header=("Meinung, lang", "Klasse")))
    columns = {"text_column": "Meinung, lang", "label_column": "Klasse"}
    assert read(path, **columns)[0] == ROWS
    error = refused(path, 65, "its columns are 'Meinung, lang', 'Klasse'; it seems to have")
    assert error.options == ("--text-column", "Meinung, lang", "--label-column", "Klasse")


def test_separators_inside_texts_do_not_mislead_detection(tmp_path: Path) -> None:
    rows = [f'"a; b; c{k}",x' if k % 2 else f"d; e; f{k},y" for k in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["sentence,kind", *rows]))
    columns = {"text_column": "sentence", "label_column": "kind"}
    (first, *_), notes = read(tmp_path / "t.csv", **columns)
    assert first == ("d; e; f0", "y") and not notes
    (tmp_path / "t.csv").write_text("\n".join(["sentence", *["a; b; c, d", "e; f; g"]]))
    message = "no column 'label', its columns are 'sentence'"
    refused(tmp_path / "t.csv", 65, message, text_column="sentence")


def test_the_separator_option_overrides_detection(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text("\t"))
    for name in ("tab", "\t", "\\t"):
        rows, notes = read(path, separator=name)
        assert rows == ROWS and not notes
    refused(path, 65, "no column 'text', its columns are 'text\tlabel'", separator="comma")
    refused(path, 2, "'::' cannot separate fields", separator="::")
    path.write_text(csv_text("~"))
    assert read(path, separator="~")[0] == ROWS


def test_excels_separator_line_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sep=;\n" + csv_text(";") + "x;y;z\n")
    refused(tmp_path / "t.csv", 65, "line 27 of 't.csv' has 3 fields")
    (tmp_path / "t.csv").write_text("sep=~\r\n" + csv_text("~", end="\r\n"), newline="")
    assert read(tmp_path / "t.csv")[0] == ROWS


def test_a_backslash_escapes_a_quote(tmp_path: Path) -> None:
    path, quoted = tmp_path / "t.csv", [(t.replace('"', '\\"'), name) for t, name in ROWS]
    path.write_text("\n".join(["text,label", *(f'"{text}",{name}' for text, name in quoted)]))
    rows, notes = read(path)
    assert rows == ROWS and "a backslash makes a quote part of the text" in notes[0]
    by_the_rules = [("C:\\", "a"), ('say \\"', "b"), ("x\\", "a"), ('\\"', "b")]
    lines = ['"' + text.replace('"', '""') + f'",{name}' for text, name in by_the_rules]
    path.write_text("\n".join(["text,label", *lines]))
    assert read(path) == (by_the_rules, ())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_unambiguous_encoding_is_detected(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(csv_text(";").encode(encoding))
    rows, notes = read(tmp_path / "t.csv")
    assert rows == ROWS
    assert ("--encoding overrules" in notes[0]) == (encoding != "utf-8-sig")


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("It’s £5", "cp1252", "0x92; as cp1252 the text there is .*It’s"),
        ("café", "latin-1", "0xe9"),
    ],
)
def test_a_likely_encoding_is_proposed(text, encoding, words, tmp_path: Path) -> None:
    """One-byte encodings are ambiguous: the message shows the text in the proposed one."""
    path = tmp_path / "t.csv"
    path.write_bytes(f"text,label\n{text},a\nx,b\ny,a\nz,b\n".encode("cp1252"))
    error = refused(path, 65, f"'t.csv' is not utf-8: byte .* is {words}")
    assert error.options == ("--encoding", encoding)
    assert read(path, encoding=encoding)[0][0] == (text, "a")


def test_unknown_bytes_have_no_proposed_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\nщ,a\n".encode("mac-cyrillic") + b"\x81\n")
    assert not refused(tmp_path / "t.csv", 65, "is not utf-8").options


@pytest.mark.parametrize("known", [True, False])
def test_every_dialect_of_a_csv_writer_is_read(known: bool) -> None:
    """Texts with every separator and quote, in every dialect, with and without a known header."""
    words = "the,; a; b, c|d don't 'tis it's no\" 5,90 1;2 x|y ok fine; yes, 'quoted' été".split()
    styles = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
    wrong = 0
    for seed in range(300):
        rng, buffer = random.Random(seed), io.StringIO(newline="")
        separator, quote = rng.choice(list(SEPARATORS)), rng.choice("\"'")
        writer = csv.writer(buffer, delimiter=separator, quotechar=quote,
                            quoting=rng.choice(styles), lineterminator="\r\n")  # fmt: skip
        rows = [[" ".join(rng.choices(words, k=rng.randrange(1, 12))), rng.choice("ab"), str(k)]
                for k in range(rng.randrange(10, 40))]  # fmt: skip
        rows = [["text", "label", "n"], *rows]
        writer.writerows(rows)
        text = buffer.getvalue()
        dialect = sniff(text, separator=",", forced=None, fits=lambda names: known and
                        "label" in names)  # fmt: skip
        wrong += list(dialects.rows(text, dialect)) != rows
    assert wrong == 0
