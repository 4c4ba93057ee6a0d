"""Windows of recordings: where they begin, whose they are, what is predicted for them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.make import opened, refused
from tests.data.test_sounds import RATE, encoded, tone
from zooadapt.cli import root
from zooadapt.data import ReadOptions, dataset_of, hold_out, inputs_of, open_inputs
from zooadapt.data.windows import spans_of
from zooadapt.errors import DataError, UsageError, ZooadaptError
from zooadapt.family import Clip

LOW, HIGH = 250, 2500


def recording(*parts: tuple[float, float]) -> np.ndarray:
    """Tones, each of some hertz (0 for silence) and seconds, one after the other."""
    sounds = [tone(hertz, seconds=seconds) if hertz else np.zeros(round(seconds * RATE))
              for hertz, seconds in parts]  # fmt: skip
    return np.concatenate(sounds)


def field(root: Path, rows: list[str], header: str = "file_name,from,to,label") -> Path:
    """A table of parts of two recordings of ten seconds."""
    root.mkdir(exist_ok=True)
    for name, first in (("a", LOW), ("b", LOW + 20)):
        parts = [(0, 2), (first, 2), (0, 2), (HIGH + first, 2), (0, 2)]
        (root / f"{name}.wav").write_bytes(encoded(recording(*parts)))
    table = root / "calls.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    return table


CALLS = ["a.wav,2,4,low", "a.wav,6,8,high", "b.wav,2,4,low", "b.wav,6,8,high"]
SPANS = {"start_column": "from", "end_column": "to", "modality": "audio"}


@pytest.mark.parametrize(
    ("seconds", "window", "hop", "expected"),
    [(1, 2, 2, [(0, 1)]),
     (2, 2, 2, [(0, 2)]),
     (6, 2, 2, [(0, 2), (2, 4), (4, 6)]),
     (6.1, 2, 2, [(0, 2), (2, 4), (4, 6)]),
     (7, 2, 2, [(0, 2), (2, 4), (4, 6), (5, 7)]),
     (5, 2, 1, [(0, 2), (1, 3), (2, 4), (3, 5)]),
     (0.3, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)])],
)  # fmt: skip
def test_windows_cover_a_recording_to_its_end(seconds, window, hop, expected):
    assert np.allclose(list(spans_of(seconds, window, hop)), expected)


def test_windows_hold_their_own_seconds(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(recording((LOW, 1), (HIGH, 1), (0, 0.5))))
    options = ReadOptions(window=1, hop=0.5)
    split = open_inputs([str(tmp_path)], modality="audio", options=options)
    assert list(split.ids) == [f"{tmp_path}/a.wav:{k / 2:g}-{k / 2 + 1:g}" for k in range(4)]
    assert np.abs(split.raw(0).samples - tone(LOW, seconds=1)).max() < 1e-4
    assert np.abs(split.raw(2).samples - tone(HIGH, seconds=1)).max() < 1e-4
    assert split.window(2).start == 1 and split.window(2).end == 2
    in_memory = inputs_of(Clip(recording((LOW, 1), (HIGH, 1)), RATE), modality="audio",
                          options=options)  # fmt: skip
    assert np.abs(in_memory.raw(2).samples - tone(HIGH, seconds=1)).max() < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_windows_of_a_recording_are_never_split(tmp_path, seed):
    for label, hertz in (("low", LOW), ("high", HIGH)):
        (tmp_path / label).mkdir()
        for k in range(6):
            sound = encoded(tone(hertz + 5 * k, seconds=2))
            (tmp_path / label / f"{k}.wav").write_bytes(sound)
    options = ReadOptions(window=0.5)
    from zooadapt.data import open_dataset

    data = open_dataset(str(tmp_path), modality="audio", options=options, seed=seed)
    assert "12 recordings cut into 48 windows" in data.notes
    parts = [data.test, *hold_out(data.train, 0.3, seed)]
    recordings = [{part.window(k).recording for k in range(len(part))} for part in parts]
    assert all(recordings) and len(set.union(*recordings)) == sum(map(len, recordings)) == 12


def test_a_table_names_parts_of_recordings(tmp_path):
    data = opened(field(tmp_path, CALLS), **SPANS)
    split = data.everything
    assert list(split.ids) == ["a.wav:2-4", "a.wav:6-8", "b.wav:2-4", "b.wav:6-8"]
    assert [data.classes[k] for k in split.labels] == ["low", "high", "low", "high"]
    assert split.groups[0] == split.groups[1] != split.groups[2] == split.groups[3]
    assert np.abs(split.raw(2).samples - tone(LOW + 20, seconds=2)).max() < 1e-4
    assert data.cutting.window == 2 and data.cutting.background is None


def test_groups_of_a_table_join_recordings(tmp_path):
    rows = [f"{row},{who}" for row, who in zip(CALLS, "uvvw", strict=True)]
    table = field(tmp_path, rows, header="file_name,from,to,label,who")
    split = opened(table, group_column="who", **SPANS).everything
    assert len(set(split.groups.tolist())) == 1  # v is in both


def test_what_no_row_names_is_background(tmp_path):
    data = opened(field(tmp_path, CALLS), background="none", window=1.0, **SPANS)
    split = data.everything
    assert data.classes == ("high", "low", "none")
    counts = np.bincount(split.labels).tolist()
    assert counts[:2] == [4, 4] and 1 < counts[2] <= 8
    assert f"{counts[2]} windows that no row names are 'none'" in data.notes
    for k in np.flatnonzero(split.labels == 2).tolist():
        assert float(np.abs(split.raw(k).samples).max()) == 0.0
    assert len(set(split.groups.tolist())) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [("a.wav,4,4,low", "row 5 names seconds 4 to 4 of 'a.wav', which ends before it begins"),
     ("a.wav,12,13,low", "row 5 names seconds 12 to 13 of 'a.wav', which is 10 s long"),
     ("a.wav,x,13,low", "row 5 of 'calls.csv' has 'x' in 'from', which is no number of seconds"),
     ("a.wav,-1,3,low", "row 5 of 'calls.csv' has '-1' in 'from'"),
     ("a.wav,,3,low", "row 5 of 'calls.csv' has '' in 'from'")],
)  # fmt: skip
def test_a_row_of_no_seconds_is_named(tmp_path, row, message):
    assert refused(field(tmp_path / "x", [*CALLS, row]), 65, message, **SPANS).remedy


def test_two_rows_of_a_recording_need_times(tmp_path):
    error = refused(field(tmp_path / "x", CALLS), 65, "name the same recording", modality="audio")
    assert "--start-column NAME --end-column NAME" in error.remedy


@pytest.mark.parametrize(
    ("modality", "options", "message"),
    [("image", {"window": 2.0}, "--window is about parts of recordings, and the model takes image"),
     ("text", {"background": "x"}, "--background is about parts of recordings"),
     ("audio", {"hop": 2.0}, "--hop needs --window"),
     ("audio", {"start_column": "a"}, "--start-column needs --end-column"),
     ("audio", {"background": "x"}, "--background needs --start-column")],
)  # fmt: skip
def test_options_of_windows_without_a_use_are_refused(tmp_path, modality, options, message):
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, modality=modality, **options)
    assert message in str(caught.value) and caught.value.remedy


def test_data_in_memory_is_cut_alike(tmp_path):
    clips = [Clip(tone(hertz + 7 * k, seconds=2), RATE)
             for k in range(4) for hertz in (LOW, HIGH)]  # fmt: skip
    data = dataset_of((clips, ["low", "high"] * 4), modality="audio",
                      options=ReadOptions(window=0.5))  # fmt: skip
    assert len(data.everything) == 32 and len(set(data.everything.groups.tolist())) == 8


def test_a_recording_that_changes_is_an_error(tmp_path):
    table = field(tmp_path, CALLS)
    data = opened(table, **SPANS)
    (tmp_path / "a.wav").write_bytes(encoded(tone(LOW, seconds=9)))
    with pytest.raises(DataError, match=r"'a\.wav' changed"):
        data.everything.raw(0)


def command(*arguments: object) -> int:
    """The exit code of a command; an error is printed."""
    try:
        root.main([str(one) for one in arguments], standalone_mode=False)
    except ZooadaptError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


@pytest.fixture(scope="module")
def model(waves, tmp_path_factory) -> Path:
    """A model of low and high calls, and of silence, from parts of ten recordings."""
    place = tmp_path_factory.mktemp("calls")
    rows = []
    for k in range(10):
        sound = recording((0, 1), (LOW + 9 * k, 1), (0, 1), (HIGH + 9 * k, 1))
        (place / f"{k}.wav").write_bytes(encoded(sound))
        rows += [f"{k}.wav,1,2,low", f"{k}.wav,3,4,high"]
    table = place / "calls.csv"
    table.write_text("\n".join(["file_name,from,to,label", *rows]) + "\n")
    out = place / "model"
    assert command("adapt", waves / "hum", table, "--start-column", "from", "--end-column", "to",
                   "--window", "0.5", "--background", "none", "--strategy", "probe",
                   "-o", out) == 0  # fmt: skip
    return out


@pytest.fixture
def long_recording(tmp_path) -> Path:
    path = tmp_path / "night.wav"
    path.write_bytes(encoded(recording((0, 1), (LOW + 3, 1), (0, 1), (HIGH + 3, 0.5), (0, 0.5))))
    return path


def test_a_recording_is_predicted_in_time(model, long_recording, capsys, tmp_path):
    listing, audacity = tmp_path / "list.csv", tmp_path / "labels.txt"
    raven = tmp_path / "night.selections.txt"
    options = ("--csv", listing, "--label-track", audacity)
    assert command("predict", model, long_recording, "--json", *options) == 0
    answer = json.loads(capsys.readouterr().out)
    expected = ["none"] * 2 + ["low"] * 2 + ["none"] * 2 + ["high", "none"]
    windows = answer["predictions"]
    assert [one["label"] for one in windows] == expected
    assert [(one["start"], one["end"]) for one in windows] == [
        (k / 2, k / 2 + 0.5) for k in range(8)
    ]
    assert {one["input"] for one in windows} == {str(long_recording)}
    (whole,) = answer["recordings"]
    assert whole["label"] == "low" and 0.5 < whole["probability"] < 1  # two windows of three
    rows = list(csv.DictReader(listing.read_text().splitlines()))
    assert [row["start"] for row in rows][:3] == ["0.0000", "0.5000", "1.0000"]
    assert audacity.read_text() == "1.000000\t2.000000\tlow\n3.000000\t3.500000\thigh\n"
    assert command("predict", model, long_recording, "--label-track", raven) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split("\t")[1:4] == ["1.00", "1.50", "low"]
    assert lines[8].split("\t")[1:4] == ["whole", "", "low"]
    header, first, second = (line.split("\t") for line in raven.read_text().splitlines())
    assert dict(zip(header, first, strict=True)) | {"Score": ""} == {
        "Selection": "1", "View": "Spectrogram 1", "Channel": "1", "Begin Time (s)": "1.000",
        "End Time (s)": "2.000", "Low Freq (Hz)": "0", "High Freq (Hz)": "4000",
        "Begin File": "night.wav", "Label": "low", "Score": "",
    }  # fmt: skip
    assert second[-2] == "high"
    assert command("predict", model, long_recording, "--label-track", raven) == 0  # again


def test_a_label_track_has_conditions(model, long_recording, capsys, tmp_path):
    (tmp_path / "other.wav").write_bytes(long_recording.read_bytes())
    (tmp_path / "notes.txt").write_text("do not lose me\n")
    two = (long_recording, tmp_path / "other.wav")
    assert command("predict", model, *two, "--label-track", tmp_path / "x.txt") == 2
    assert "Audacity is about one recording" in capsys.readouterr().err
    assert command("predict", model, *two, "--label-track", tmp_path / "x.selections.txt") == 0
    assert command("predict", model, *two, "--label-track", tmp_path / "notes.txt") == 73
    assert (tmp_path / "notes.txt").read_text() == "do not lose me\n"


def test_a_model_of_windows_measures_windows(model, waves, capsys):
    report = json.loads((model / "report.json").read_text())
    assert report["test"]["accuracy"] >= 0.9
    config = json.loads((model / "config.json").read_text())
    assert config["zooadapt"]["cutting"] == {"background": "none", "hop": 0.5, "window": 0.5}
