"""Runs on recordings: from files to an export that predicts."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from zooadapt_audio import VoiceFamily
from zooadapt_audio.settings import parse
from zooadapt_audio.voice import VoicePreprocessor

import zooadapt
from zooadapt.backbone.loaders import Inputs
from zooadapt.data import inputs_of
from zooadapt.family import Clip
from zooadapt.family.modality import View
from zooadapt.training.mixup import mix

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 8_000


def chirp(seed: int, *, rising: bool) -> np.ndarray:
    """A quiet tone that rises or falls, of a length and a pitch of its own."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(RATE * rng.uniform(0.2, 0.5))) / RATE
    sweep = np.linspace(0, 600, len(time)) if rising else np.linspace(600, 0, len(time))
    phase = np.cumsum(rng.uniform(300, 900) + sweep) / RATE
    noise = rng.normal(0, 0.001, len(time))
    return (0.02 * np.sin(2 * np.pi * phase) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def chirps(tmp_path_factory):
    root = tmp_path_factory.mktemp("chirps")
    for label in ("fall", "rise"):
        (root / label).mkdir()
        for number in range(15):
            samples = chirp(number + 100 * (label == "rise"), rising=label == "rise")
            soundfile.write(root / label / f"{number}.wav", samples, RATE)
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A voice encoder with random weights, at another rate than the files."""
    folder = tmp_path_factory.mktemp("source")
    config = {
        "architecture": "voice_lstm", "sample_rate": 16000, "n_fft": 400, "hop_length": 160,
        "n_mels": 20, "mel": "slaney, power 2, not log", "hidden_size": 24, "num_layers": 2,
        "volume_dbfs": -10,
    }  # fmt: skip
    family = VoiceFamily()
    torch.manual_seed(1)
    net = family.build(config, 2)
    state = {n: t for n, t in net.state_dict().items() if not n.startswith("head.")}
    for name, tensor in state.items():
        state[name] = 3 * tensor if "weight" in name else tensor
    save_file(family.native_state(state, config), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("strategy", "mixup"), [("probe", 0.0), ("lp-ft", 0.2)])
def test_recordings_are_learned_and_predicted(chirps, source, tmp_path, strategy, mixup):
    model = zooadapt.adapt(
        str(source), str(chirps), strategy=strategy, augment="rand", mixup=mixup, epochs=4,
        seed=0,
        out=tmp_path / "model",
    )  # fmt: skip
    assert model.report["test"]["accuracy"] >= 0.8
    exported = zooadapt.load(tmp_path / "model")
    clips = [Clip(samples=chirp(1000 + k, rising=k % 2 == 1), rate=RATE) for k in range(20)]
    labels = [prediction.label for prediction in exported.predict(clips)]
    assert sum(label == ("fall", "rise")[k % 2] for k, label in enumerate(labels)) >= 15
    paths = [str(path) for path in sorted(chirps.glob("*/0.wav"))]
    assert exported.features(paths, layer="layer0").shape == (2, 24)


def test_the_lengths_of_recordings_cost_no_preprocessing(source):
    class Counting(VoicePreprocessor):
        calls = 0

        def __call__(self, raw, *, rng):
            Counting.calls += 1
            return super().__call__(raw, rng=rng)

    config = json.loads((source / "config.json").read_text())
    clips = [Clip(samples=chirp(k, rising=True), rate=RATE) for k in range(6)]
    split = inputs_of(clips, modality="audio")
    inputs = Inputs(
        split, Counting(parse(config), augment="none"), view=View(rate=16_000),
        variable_length=True,
    )  # fmt: skip
    lengths = inputs.lengths()
    assert Counting.calls == 0
    assert lengths.tolist() == [1 + round(2 * len(clip.samples)) // 160 for clip in clips]
    (batch,) = inputs.batches([np.arange(6)])
    assert batch["length"].tolist() == lengths.tolist() and Counting.calls == 6


def test_the_reference_learns_spoken_digits_from_ten_clips_each(real_data, tmp_path):
    model = zooadapt.adapt(
        str(real_data / "weights" / "voice_lstm.ge2e"), str(real_data / "audio" / "digits"),
        strategy="probe", labels_per_class=10, seed=0, out=tmp_path / "model",
    )  # fmt: skip
    assert model.report["test"]["accuracy"] >= 0.88


def test_clips_are_mixed_within_the_time_of_the_first(source):
    """The bands of a sum of sounds are the sum of their bands, but for their phases."""
    prepare = VoicePreprocessor(
        parse(json.loads((source / "config.json").read_text())), augment="none"
    )
    clips = [Clip(samples=chirp(k, rising=True), rate=16_000) for k in range(4)]
    batch = prepare.collate([prepare(clip, rng=None) for clip in clips])
    mixed, order, share = mix(batch, (0, 1), mixup=1.0, cutmix=0.0)
    expected = share * batch["frames"] + (1 - share) * batch["frames"][order]
    torch.testing.assert_close(mixed["frames"], expected)
    assert torch.equal(mixed["length"], batch["length"])


def test_boxes_are_not_cut_out_of_clips(chirps, source):
    with pytest.raises(zooadapt.ZooadaptError, match="different lengths") as caught:
        zooadapt.plan(str(source), str(chirps), strategy="full", cutmix=1.0)
    assert "cutmix" in str(caught.value.remedy) and "mixup" not in str(caught.value.remedy)


def test_poolings_are_compared_on_groups_left_out_as_a_whole(source, tmp_path):
    """Labels that have nothing to do with the sound, of which each is there twice: only the twin
    tells them."""
    rng = np.random.default_rng(0)
    rows = ["audio,label,twins"]
    (tmp_path / "clips").mkdir()
    for number in range(40):
        clip = chirp(number, rising=True)
        for twin in range(2):
            name = f"clips/{number}-{twin}.wav"
            soundfile.write(tmp_path / name, clip + rng.normal(0, 1e-4, len(clip)), RATE)
            rows.append(f"{name},{'ab'[number % 2]},{number}")
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    losses = {}
    for column in (None, "twins"):
        plan = zooadapt.plan(
            str(source), str(tmp_path / "data.csv"), strategy="probe", seed=0,
            audio_column="audio", group_column=column,
        )  # fmt: skip
        (choice,) = (one for one in plan["plan"]["choices"] if one["what"] == "pooling")
        losses[column] = [float(number) for number in re.findall(r"\d\.\d+", choice["why"])]
    assert len(losses[None]) == 2 and max(losses[None]) < 0.5
    assert min(losses["twins"]) > 0.65
