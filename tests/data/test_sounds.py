"""Recordings: formats, mixing, rates, limits, faults, and where they come from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.data.make import opened, refused
from zooadapt.data import ReadOptions, dataset_of, inputs_of, open_inputs
from zooadapt.errors import DataError
from zooadapt.family import Clip

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 8000
FORMATS = (("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"),
           ("mp3", "MP3", "MPEG_LAYER_III"), ("aiff", "AIFF", "PCM_16"))  # fmt: skip


def tone(hertz: float, *, seconds: float = 0.5, rate: int = RATE, loud: float = 0.5) -> np.ndarray:
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", sub: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=sub)
    return buffer.getvalue()


def sound_folder(root: Path, count: int = 3) -> Path:
    """Class folders `low` and `high` of short recordings, no two alike."""
    for label, hertz in (("low", 200), ("high", 2000)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            content = encoded(tone(hertz + 10 * number))
            (root / label / f"{number}.wav").write_bytes(content)
    return root


@pytest.mark.parametrize(("suffix", "kind", "sub"), FORMATS)
def test_formats_are_read_as_one_channel(tmp_path, suffix, kind, sub):
    stereo = np.stack([tone(440, loud=0.6), tone(440, loud=0.2)], axis=1)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(stereo, kind=kind, sub=sub))
    split = open_inputs([str(path)], modality="audio")
    clip = split.raw(0)
    assert clip.rate == RATE and clip.samples.dtype == np.float32 and clip.samples.ndim == 1
    assert split.notes == ("1 recording of several channels, which are mixed down",)
    middle = clip.samples[1000:3000]
    assert abs(float(np.abs(middle).max()) - 0.4) < 0.03  # the mean of 0.6 and 0.2
    peaks = np.abs(np.fft.rfft(middle))
    assert abs(peaks.argmax() * RATE / len(middle) - 440) <= 4


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_clips_have_the_rate_that_is_asked_for(tmp_path, rate):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(tone(300, rate=rate), rate))
    clip = open_inputs([str(path)], modality="audio").raw(0, rate=RATE)
    assert clip.rate == RATE and abs(len(clip.samples) - RATE // 2) <= 1
    assert np.abs(clip.samples - tone(300))[200:3800].max() < 0.005


def test_folders_of_classes_are_read(tmp_path):
    (sound_folder(tmp_path / "s") / "low" / "notes.txt").write_text("made at night")
    data = opened(tmp_path / "s", modality="audio")
    assert data.classes == ("high", "low") and len(data.everything) == 6
    assert "1 file that is no recording left out" in data.notes
    assert data.everything.ids[0] == "high/0.wav" and data.everything.text(0) is None


def test_a_table_names_recordings(tmp_path):
    sound_folder(tmp_path)
    rows = [f"{label}/{k}.wav,{label}" for label in ("low", "high") for k in range(3)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["recording,label", *rows]) + "\n")
    data = opened(table, modality="audio", audio_column="recording")
    assert data.classes == ("high", "low") and data.everything.ids[0] == "low/0.wav"
    error = refused(table, 65, "it seems to have its recordings in 'recording'", modality="audio")
    assert error.options == ("--audio-column", "recording")


def test_files_are_known_by_their_content(tmp_path):
    sound_folder(tmp_path)
    for path in sorted((tmp_path / "low").iterdir()):
        path.rename(path.with_suffix(".dat"))
    data = opened(tmp_path, modality="audio")
    assert "3 recordings are known by their content (.dat)" in data.notes


def bad_files() -> dict[str, bytes]:
    samples = tone(300, seconds=2)
    infinite = np.full(800, np.inf, dtype=np.float32)
    return {
        "is empty": b"",
        "no recording in a known format": b"<html>not found</html>" * 40,
        "is cut off: its header": encoded(samples)[:16000],
        "is broken or cut off": encoded(samples, kind="FLAC")[:9000],
        "is cut off": encoded(samples, kind="MP3", sub="MPEG_LAYER_III")[:3000],
        "values that are no numbers": encoded(infinite, sub="FLOAT"),
        "known format": encoded(samples, kind="AU"),
        "rate of 500,": encoded(samples, 500),
    }  # fmt: skip


@pytest.mark.parametrize("message", bad_files())
def test_a_bad_recording_is_named_in_one_line(tmp_path, message):
    sound_folder(tmp_path)
    (tmp_path / "low" / "bad.wav").write_bytes(bad_files()[message])
    error = refused(tmp_path, 65, f"'low/bad.wav' .*{message}", modality="audio")
    assert (
        error.thing == "low/bad.wav" and "--skip-bad" in error.remedy
    ) or "resample" in error.remedy
    data = opened(tmp_path, modality="audio", skip_bad=True)
    assert "1 broken recording left out" in data.notes and len(data.everything) == 6


def test_no_samples_are_no_recording(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(np.zeros(0)))
    with pytest.raises(DataError, match="'.*a.wav' is empty"):
        open_inputs([str(tmp_path / "a.wav")], modality="audio")


def test_a_long_recording_is_no_sample(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(tone(300, seconds=3)))
    split = open_inputs([str(tmp_path)], modality="audio", options=ReadOptions(max_seconds=2))
    with pytest.raises(DataError, match="is 3 s long, the limit for one sample is 2 s") as caught:
        split.raw(0)
    assert "--window" in caught.value.remedy and "--max-seconds" in caught.value.remedy


def test_silence_is_noted(tmp_path):
    sound_folder(tmp_path)
    (tmp_path / "low" / "quiet.wav").write_bytes(encoded(np.zeros(4000)))
    assert "1 recording of silence alone" in opened(tmp_path, modality="audio").notes


def test_a_header_of_unknown_length_is_read(tmp_path):
    content = bytearray(encoded(tone(300)))
    content[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(open_inputs([str(tmp_path)], modality="audio").raw(0).samples) == 4000


def test_clips_in_memory_equal_those_of_files(tmp_path):
    samples = [np.round(tone(200 + 100 * k) * 32768).astype(np.int16) for k in range(6)]
    clips = [Clip(one.astype(np.float32) / 32768, RATE) for one in samples]
    cells = [{"array": one, "sampling_rate": RATE} for one in samples]
    contents = [encoded(one) for one in samples]
    labels = ["a", "b"] * 3
    sets = [dataset_of((values, labels), modality="audio") for values in (clips, cells, contents)]
    for data in sets:
        for k in range(6):
            clip = data.everything.raw(k)
            assert clip.rate == RATE and np.array_equal(clip.samples, clips[k].samples)
    assert sets[0].fingerprint == sets[1].fingerprint


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.zeros(100), "is of type 'ndarray' and no recording"),
     (Clip(np.zeros((2, 2, 2)), RATE), "array of shape"),
     (Clip(np.zeros(0), RATE), "array of shape"),
     (Clip(np.full(9, np.nan), RATE), "no numbers"),
     (Clip(np.zeros(9), 3), "rate of 3")],
)  # fmt: skip
def test_a_value_that_is_no_clip_is_named(value, message):
    with pytest.raises(DataError, match=message) as caught:
        inputs_of([value], modality="audio")
    assert "recording 1" in str(caught.value)


def test_stereo_in_memory_is_mixed_down():
    stereo = np.stack([np.full(50, 0.5), np.full(50, -0.1)])
    for array in (stereo, stereo.T):
        split = inputs_of(Clip(array, RATE), modality="audio")
        assert np.allclose(split.raw(0).samples, 0.2) and len(split.raw(0).samples) == 50


def test_a_changed_recording_is_an_error(tmp_path):
    sound_folder(tmp_path)
    data = opened(tmp_path, modality="audio")
    (tmp_path / "high" / "0.wav").write_bytes(encoded(tone(100)))
    with pytest.raises(DataError, match="'high/0.wav' changed"):
        data.everything.raw(0)


def test_a_hub_set_with_audio_is_read(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "birds"
    folder.mkdir()
    rows = [{"bytes": encoded(tone(200 + 50 * k)), "path": None} for k in range(8)]
    features = {"sound": {"_type": "Audio"}, "label": {"_type": "Value", "dtype": "string"}}
    table = pa.table(
        {
            "sound": pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "label": ["a", "b"] * 4,
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, folder / "train.parquet")
    data = opened(f"hf:{folder}", modality="audio")
    assert data.classes == ("a", "b") and len(data.everything) == 8
    clip = data.everything.raw(3, rate=RATE)
    assert abs(np.abs(np.fft.rfft(clip.samples)).argmax() * 2 - 350) <= 2
