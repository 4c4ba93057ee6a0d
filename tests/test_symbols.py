"""What a source does not read of texts is said, and how to make it read more."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from zooadapt.errors import UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt

LIMIT = 11


@pytest.fixture
def letterheads(tmp_path) -> Path:
    """Texts whose class stands behind a head that says nothing."""
    with (tmp_path / "letters.csv").open("w", newline="") as file:
        words = {"yes": "yesyesyes", "no": "nonononoo"}
        rows = [(f"to whom it {k:02} {words[name]}", name) for name in words for k in range(12)]
        csv.writer(file).writerows([("text", "label"), *rows, ("no", "no")])
    return tmp_path / "letters.csv"


def probe(data: Path, out: Path, **options) -> dict:
    request = Request(source="rnn:english", data=str(data), out=out, strategy="probe", **options)
    return adapt(request, Progress()).report


def test_texts_beyond_the_limit_are_counted_in_a_note(letterheads, tmp_path):
    report = probe(letterheads, tmp_path / "out", max_length=LIMIT)
    (note,) = [line for line in report["notes"] if "longer than" in line]
    assert "24 of 25 texts are longer than 11 symbols" in note
    assert "--max-length 23" in note
    assert report["val"]["accuracy"] < 0.7

    whole = probe(letterheads, tmp_path / "whole", max_length=23)
    assert not [line for line in whole["notes"] if "longer than" in line]
    assert whole["val"]["accuracy"] > 0.9


def test_an_export_keeps_the_length_it_reads(letterheads, tmp_path):
    probe(letterheads, tmp_path / "out", max_length=LIMIT)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["max_length"] == config["zooadapt"]["preprocessing"]["max_length"] == LIMIT


def test_a_source_of_images_has_no_length(pictures, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no other length") as caught:
        adapt(Request(source="digits04", data=str(pictures), out=out, max_length=9), Progress())
    assert "--max-length" in caught.value.remedy


def test_a_length_without_room_for_a_text_is_refused(letterheads, tmp_path):
    with pytest.raises(UsageError) as caught:
        probe(letterheads, tmp_path / "out", max_length=1)
    assert caught.value.thing == "--max-length"
