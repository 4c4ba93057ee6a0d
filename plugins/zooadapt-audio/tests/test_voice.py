"""Recurrent voice encoders: stages, padding, the reference weights, exports."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from zooadapt_audio import VoiceFamily

from zooadapt.backbone.staged import StagedBackbone, prefix_sha256
from zooadapt.errors import DataError
from zooadapt.family import Clip

FAMILY = VoiceFamily()
REFERENCE = "voice_lstm.ge2e"
LENGTHS = (4_000, 900, 0, 2_500, 1)


def config(**changes) -> dict:
    base = {
        "architecture": "voice_lstm", "sample_rate": 8000, "n_fft": 256, "hop_length": 128,
        "n_mels": 12, "mel": "slaney, power 2, not log", "hidden_size": 6, "num_layers": 3,
        "volume_dbfs": -30, "dropout": 0.3,
    }  # fmt: skip
    return base | changes


def clip(samples: int, *, rate: int = 8_000, seed: int = 0) -> Clip:
    noise = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    return Clip(samples=noise, rate=rate)


def seeded(source: dict, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return FAMILY.build(source, num_classes)


def batch(source: dict, lengths=LENGTHS) -> dict[str, torch.Tensor]:
    prepare = FAMILY.preprocessor(source)
    return prepare.collate([prepare(clip(n, seed=n), rng=None) for n in lengths])


every_pooling = pytest.mark.parametrize("pooling", ["states", "statistics", "embedding"])


@every_pooling
@torch.no_grad()
def test_the_stages_are_the_network_from_every_freeze_point(pooling):
    source = config(pooling=pooling)
    backbone, activations = StagedBackbone(FAMILY, seeded(source)), batch(source)
    assert [stage.name for stage in backbone.stages] == ["layer0", "layer1", "layer2", "pooling"]
    expected = backbone.net(**activations)
    for freeze_at in range(backbone.depth + 1):
        stored = backbone.run(activations, stop=freeze_at)
        assert torch.equal(backbone.logits(stored, start=freeze_at), expected)


@every_pooling
@torch.no_grad()
def test_a_clip_alone_gives_the_logits_of_a_batch(pooling):
    source = config(pooling=pooling)
    backbone = StagedBackbone(FAMILY, seeded(source))
    alone = torch.cat([backbone.logits(batch(source, [n])) for n in LENGTHS])
    torch.testing.assert_close(alone, backbone.logits(batch(source)), rtol=0, atol=1e-6)


def test_stored_activations_distinguish_the_poolings():
    """By the modules alone, since equal weights and equal preprocessing are no difference."""
    hashes = set()
    for pooling in ("states", "statistics"):
        backbone = StagedBackbone(FAMILY, seeded(config(pooling=pooling)))
        hashes.add(prefix_sha256(backbone, backbone.depth))
    assert len(hashes) == 2


def test_statistics_of_one_frame_can_be_trained():
    net = seeded(config(pooling="statistics"))
    net(**batch(config(), [1, 4_000])).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_clip_is_truncated_to_the_frames_of_the_limit():
    whole, short = FAMILY.preprocessor(config()), FAMILY.preprocessor(config(max_length=20))
    raw = clip(4_000)
    frames = short(raw, rng=None)["frames"]
    torch.testing.assert_close(frames, whole(raw, rng=None)["frames"][:20])
    assert len(frames) == 20 and short.length(raw) == len(whole(raw, rng=None)["frames"]) == 32


@every_pooling
@torch.no_grad()
def test_the_reference_is_a_stacked_torch_lstm_and_its_embedding(real_data, pooling):
    folder = real_data / "weights" / REFERENCE
    source = json.loads((folder / "config.json").read_text()) | {"pooling": pooling}
    state = load_file(folder / "model.safetensors")
    net = seeded(source)
    missing, unexpected = net.load_state_dict(FAMILY.convert(state, source), strict=False)
    assert unexpected == [] and set(missing) == {"head.weight", "head.bias"}
    stock = nn.LSTM(40, 256, num_layers=3, batch_first=True)
    stock.load_state_dict(
        {n.removeprefix("lstm."): t for n, t in state.items() if n.startswith("lstm.")}
    )
    prepare = FAMILY.preprocessor(source)
    for samples in (16_000, 5_000):
        sample = prepare(clip(samples, rate=16_000), rng=None)
        assert sample["frames"].shape == (1 + samples // 160, 40)
        states, (last, _) = stock(sample["frames"][None])
        embedding = torch.relu(last[-1] @ state["linear.weight"].T + state["linear.bias"])
        expected = {
            "states": torch.cat((last[-1], states.mean(1), states.amax(1)), dim=1),
            "statistics": torch.cat(
                (states.mean(1), states.std(1, correction=0), states.amax(1), states.amin(1)), dim=1
            ),
            "embedding": embedding / embedding.norm(),
        }[pooling]
        features = StagedBackbone(FAMILY, net).run(prepare.collate([sample]))["features"]
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@every_pooling
def test_an_export_has_the_names_of_its_source(real_data, pooling):
    folder = real_data / "weights" / REFERENCE
    source = json.loads((folder / "config.json").read_text()) | {"pooling": pooling}
    state = load_file(folder / "model.safetensors")
    net = seeded(source)
    net.load_state_dict(FAMILY.convert(state, source), strict=False)
    exported = FAMILY.native_state(net.state_dict(), source)
    dropped = {"linear.weight", "linear.bias"} if pooling != "embedding" else set()
    assert set(exported) - {"head.weight", "head.bias"} == set(state) - dropped
    assert all(torch.equal(exported[name], state[name]) for name in set(state) - dropped)
    native = FAMILY.native_config(source, ["one", "two"])
    assert FAMILY.claims(native) and FAMILY.classes(native) == ("one", "two")
    assert native.items() >= (source | {"pooling": pooling}).items()
    again = FAMILY.convert(exported, native)
    assert again.keys() == net.state_dict().keys()


def test_fewer_layers_take_the_first_of_the_source(real_data):
    folder = real_data / "weights" / REFERENCE
    source = json.loads((folder / "config.json").read_text()) | {"num_layers": 2}
    converted = FAMILY.convert(load_file(folder / "model.safetensors"), source)
    assert {name.rpartition(".ahead")[0] for name in converted} == {"rnn.0", "rnn.1"}


def test_poolings_are_offered_until_one_is_chosen():
    embedding = "relu(linear(last hidden state)), L2-normalised"
    offered = FAMILY.poolings(config(embedding=embedding))
    assert list(offered) == [
        "last, mean and max state", "mean, deviation, max and min of the states",
        "the encoder's own embedding",
    ]  # fmt: skip
    assert list(FAMILY.poolings(config())) == list(offered)[:2]
    assert offered["last, mean and max state"] == config(embedding=embedding)
    chosen = offered["the encoder's own embedding"]
    assert FAMILY.poolings(chosen) == {"the encoder's own embedding": chosen}


@pytest.mark.parametrize(
    ("changes", "thing"),
    [
        ({"mel": "htk"}, "mel"),
        ({"volume_dbfs": 3}, "volume_dbfs"),
        ({"n_mels": 200}, "n_mels"),
        ({"hop_length": 0}, "hop_length"),
        ({"sample_rate": "16 kHz"}, "sample_rate"),
        ({"pooling": "attention"}, "pooling"),
        ({"embedding": "linear(last hidden state)"}, "embedding"),
        ({"hidden_size": 1 << 20}, "hidden_size"),
    ],
)
def test_a_wrong_config_is_one_clear_error(changes, thing):
    with pytest.raises(DataError, match=f"'{thing}'") as caught:
        FAMILY.build(config(**changes), 2)
    assert caught.value.thing == thing


def test_claims_import_neither_torch_nor_numpy():
    code = (
        "import sys, zooadapt_audio;"
        "zooadapt_audio.VoiceFamily().claims({'architecture': 'voice_lstm'});"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_layers_of_the_reference_distinguish_spoken_digits(real_data):
    """Logistic regression on the mean, max and last state of each layer, on the encoder's own
    embedding, and on statistics of the logarithm of the bands; 240 clips to test."""
    soundfile, soxr = pytest.importorskip("soundfile"), pytest.importorskip("soxr")
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    folder = real_data / "weights" / REFERENCE
    source = json.loads((folder / "config.json").read_text())
    prepare = FAMILY.preprocessor(source)
    parts = {}
    for part in ("train", "test"):
        files = sorted((real_data / "audio" / "digits" / part).glob("*/*.wav"))
        samples = []
        for path in files:
            sound, rate = soundfile.read(path, dtype="float32")
            raw = Clip(samples=soxr.resample(sound, rate, 16_000), rate=16_000)
            samples.append(prepare(raw, rng=None))
        parts[part] = (samples, [path.parent.name for path in files])

    def accuracy(features) -> float:
        (x, y), (u, v) = ((features(samples), labels) for samples, labels in parts.values())
        scaler = StandardScaler().fit(x)
        fitted = LogisticRegression(max_iter=2000).fit(scaler.transform(x), y)
        return fitted.score(scaler.transform(u), v)

    def of_network(pooling: str, layers: int):
        config = source | {"pooling": pooling, "num_layers": layers}
        net = seeded(config)
        state = load_file(folder / "model.safetensors")
        net.load_state_dict(FAMILY.convert(state, config), strict=False)
        backbone = StagedBackbone(FAMILY, net)
        with torch.no_grad():
            return lambda samples: torch.cat([
                backbone.run(prepare.collate(samples[k : k + 60]))["features"].detach()
                for k in range(0, len(samples), 60)
            ]).numpy()  # fmt: skip

    def of_log_mel(samples):
        logs = [np.log(sample["frames"].numpy() + 1e-6) for sample in samples]
        return np.stack([np.concatenate((x.mean(0), x.std(0), x.max(0))) for x in logs])

    assert accuracy(of_network("states", 2)) == pytest.approx(0.996, abs=0.005)
    assert accuracy(of_network("embedding", 3)) == pytest.approx(0.946, abs=0.01)
    assert accuracy(of_log_mel) == pytest.approx(0.929, abs=0.005)
