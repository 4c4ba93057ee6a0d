"""Options of trained phases, each by what it moves and leaves alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zooadapt.backbone.loaders import shuffled, steps
from zooadapt.errors import DataError, UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.config import Request
from zooadapt.training.cost_model import Sizes
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo.sources import open_source


def run(data: Path, out: Path, **options: Any) -> dict[str, Any]:
    defaults = {"strategy": "full", "epochs": 3, "batch_size": 8, "precision": "fp32"} | options
    return adapt(Request(source="digits04", data=str(data), out=out, **defaults), Progress()).report


def moved(out: Path) -> set[str]:
    before = load_file(open_source("digits04").origin.folder / "model.safetensors")
    after = load_file(out / "model.safetensors")
    assert set(before) == set(after)
    return {
        name
        for name, tensor in after.items()
        if tensor.shape == before[name].shape and not torch.equal(tensor, before[name])
    }


@pytest.fixture(scope="module")
def plain(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("plain") / "out"
    return out, run(pictures, out)


@pytest.mark.parametrize("tune", ["norm", "bias", "lora"])
def test_tune_updates_a_part_of_the_backbone(plain, pictures: Path, tmp_path: Path, tune: str):
    out, all_of_it = plain
    report = run(pictures, tmp_path / "out", tune=tune)
    some, everything = moved(tmp_path / "out"), moved(out)
    assert some and some < everything
    assert report["trainable_parameters"] < all_of_it["trainable_parameters"]
    ndims = {load_file(out / "model.safetensors")[name].ndim for name in some}
    assert ndims == ({4} if tune == "lora" else {1})


@pytest.mark.parametrize("option", ["ema", "mixup", "cutmix", "l2sp"])
def test_an_option_changes_what_is_learned(plain, pictures: Path, tmp_path: Path, option: str):
    run(pictures, tmp_path / "out", **{option: 0.5})
    ours, others = (load_file(p / "model.safetensors") for p in (tmp_path / "out", plain[0]))
    assert any(not torch.equal(ours[name], others[name]) for name in ours)
    plan = json.loads((tmp_path / "out" / "report.json").read_text())["plan"]
    assert plan["recipe"][option] == 0.5


def test_a_probe_names_the_options_without_effect(pictures: Path, tmp_path: Path):
    notes = run(pictures, tmp_path / "out", strategy="probe", epochs=3, ema=0.5)["notes"]
    assert notes[1:] == ["--epochs, --ema had no effect: --strategy probe trains nothing"]
    assert run(pictures, tmp_path / "plain", strategy="probe", epochs=None)["notes"] == notes[:1]


def test_an_average_of_weights_lies_closer_to_the_pretrained(plain, pictures: Path, tmp_path: Path):
    run(pictures, tmp_path / "out", ema=0.999, label_smoothing=0.0)
    run(pictures, tmp_path / "without", label_smoothing=0.0)
    source = load_file(open_source("digits04").origin.folder / "model.safetensors")
    ways = []
    for name in ("out", "without"):
        state = load_file(tmp_path / name / "model.safetensors")
        gaps = [state[k] - t for k, t in source.items() if state[k].shape == t.shape]
        ways.append(float(torch.cat([gap.float().flatten() for gap in gaps]).norm()))
    assert ways[0] < ways[1]


def test_a_resumed_run_with_lora_and_ema_gives_equal_bytes(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"tune": "lora", "ema": 0.9, "mixup": 0.2, "soup": 2, "checkpoint_seconds": 0.0}
    run(pictures, tmp_path / "whole", **options)
    save = Checkpoint.save

    def stops(self: Checkpoint, tensors: Any, progress: Any) -> None:
        save(self, tensors, progress)
        if progress["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", stops)
        run(pictures, tmp_path / "out", **options)
    run(pictures, tmp_path / "out", resume=True, **options)
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "out"))
    assert whole.read_bytes() == resumed.read_bytes()


def test_a_leftover_sample_joins_the_last_batch(pictures: Path, tmp_path: Path):
    """The last map of so small a picture has one value a channel."""
    options = {"norm_statistics": "train", "epochs": 2, "input_size": 16}
    report = run(pictures, tmp_path / "out", batch_size=23, **options)
    assert report["data"]["samples"]["train"] == 24 and report["steps"] == 2
    with pytest.raises(DataError, match="in a step of a single sample"):
        run(pictures, tmp_path / "ones", batch_size=1, **options)


@pytest.mark.parametrize("lengths", [None, np.arange(200) % 7])
def test_every_sample_is_in_one_batch_and_none_is_alone(lengths: np.ndarray | None):
    for n, size in itertools.product((1, 2, 3, 31, 32, 33, 34, 65, 66, 161), (1, 2, 8, 32)):
        own = None if lengths is None else lengths[:n]
        batches = shuffled(n, size, key=(3,), lengths=own)
        assert sorted(np.concatenate(batches)) == list(range(n))
        assert len(batches) == steps(n, size) == Sizes(train=n, val=0, test=0, batch=size).steps
        assert min(map(len, batches)) > 1 or 1 in (n, size)
        assert max(map(len, batches)) <= size + (n % size == 1)


def test_texts_are_not_mixed(tmp_path: Path, real_data: Path):
    source = str(real_data / "weights" / "charlstm_darwin.ml5")
    rows = [f"text number {k},{'ab'[k % 2]}" for k in range(20)]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]))
    request = Request(source=source, data=str(tmp_path / "data.csv"), out=tmp_path / "out",
                      strategy="full", mixup=0.2)  # fmt: skip
    with pytest.raises(UsageError, match="different lengths"):
        adapt(request, Progress())
    assert not (tmp_path / "out").exists()
