"""The refit: what was held out to choose and measure a model by is learned too in the end."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs, Joined, Part
from zooadapt.backbone.pretrained import build
from zooadapt.data import open_dataset
from zooadapt.data.splits import hold_out
from zooadapt.errors import DataError
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.tasks.validation import Validation
from zooadapt.training import cost_model, policy, strategies
from zooadapt.training.config import Request
from zooadapt.training.head_fitter import HeadFitter
from zooadapt.training.strategies import ALWAYS, LOST, Recipe, TrainPhase
from zooadapt.training.trainer import Trainer
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo.sources import open_source


def run(data: Path, out: Path, **options: Any) -> dict[str, Any]:
    merged = {"strategy": "full", "epochs": 4, "batch_size": 8, "precision": "fp32"} | options
    return adapt(Request(source="digits04", data=str(data), out=out, **merged), Progress()).report


def test_the_held_out_samples_are_learned_after_they_were_measured(pictures: Path, tmp_path: Path):
    kept, again = (
        run(pictures, tmp_path / name, refit=name == "again", ema=0.5, tune="lora")
        for name in ("kept", "again")
    )
    assert again["refitted"] and not kept["refitted"]
    assert again["epochs"] == kept["epochs"] and again["val"] == kept["val"]
    assert [one["what"] for one in again["decisions"]] == ["refit"]
    assert any("learned too" in note for note in again["notes"])
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("again", "kept"))
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    assert again["frozen"]["sha256_before"] == again["frozen"]["sha256_after"]


def test_where_no_epoch_was_better_the_solved_head_is_solved_on_all(pictures: Path, tmp_path: Path):
    report = run(pictures, tmp_path / "lp-ft", strategy="lp-ft", epochs=0)
    run(pictures, tmp_path / "probe", strategy="probe")
    assert report["refitted"]
    assert report["decisions"][-1]["value"] == "the head fitted on all samples"
    config = json.loads((tmp_path / "lp-ft/config.json").read_text())["zooadapt"]
    assert config["temperature"]["fitted_on"] == "leave-one-out"
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("lp-ft", "probe"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)


def test_what_diverges_is_no_model_in_training_and_in_a_refit(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One step an epoch: its own loss is finite, and the weights that it leaves are of no use."""
    options = {"epochs": 1, "batch_size": 64}
    with pytest.raises(DataError, match="validation loss became .* after epoch 1 of phase 1"):
        run(pictures, tmp_path / "out", lr=1000, weight_decay=1000, stage_decay=1, **options)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(strategies, "REFIT_RATE", 1e98)
    report = run(pictures, tmp_path / "out", lr=1e-60, **options)
    assert report["decisions"][-1]["value"].startswith("discarded, it made the model worse")
    assert not report["refitted"]
    tensors = load_file(tmp_path / "out/model.safetensors").values()
    assert all(tensor.isfinite().all() for tensor in tensors)


def scored(loss: float, accuracy: float) -> Validation:
    losses = torch.full((9,), loss)
    return Validation(loss=loss, accuracy=accuracy, score=accuracy, scale=1.0, losses=losses)


def chosen(validations: dict[float, Validation]) -> policy.Candidate:
    """The policy's model of the linear probe (0), the fine-tuned one (1) and averages of both."""
    auto = policy.Policy(chooses=True)
    return auto.model(validations.__getitem__, trained=True, from_scratch=False)


def test_a_weight_average_that_is_not_finite_is_not_chosen():
    losses = {0.0: 1.0, 0.25: 2.0, 0.5: float("nan"), 0.75: float("inf"), 1.0: 0.5}
    assert chosen({share: scored(loss, 0) for share, loss in losses.items()}).share == 1.0
    losses[1.0] = 2.0
    assert chosen({share: scored(loss, 0) for share, loss in losses.items()}).share == 0.0


def test_a_probe_that_is_right_throughout_remains():
    validations = {0.0: scored(0.3, 8 / 9), 0.25: scored(0.3, 8 / 9), 0.5: scored(0.2, 1.0),
                   0.75: scored(0.2, 1.0), 1.0: scored(0.1, 1.0)}  # fmt: skip
    assert chosen(validations).share == 1.0
    validations[0.0] = scored(0.3, 1.0)
    answer = chosen(validations)
    assert (answer.share, answer.validation) == (0, validations[0.0])
    assert answer.why == "it is right on all 9 held-out samples"


def test_what_is_right_about_fewer_than_the_probe_is_not_chosen():
    validations = {0.0: scored(0.3, 7 / 9), 0.25: scored(0.3, 5 / 9), 0.5: scored(0.2, 7 / 9),
                   0.75: scored(0.1, 6 / 9), 1.0: scored(0.1, 6 / 9)}  # fmt: skip
    answer = chosen(validations)
    assert (answer.share, answer.validation) == (0.5, validations[0.5])
    validations[0.5] = scored(0.2, 5 / 9)
    answer = chosen(validations)
    assert (answer.share, answer.validation) == (0, validations[0.0])
    assert "0.100 after training, which is worse" in answer.why


def test_a_refit_goes_on_for_a_while_and_slower():
    tried = TrainPhase(freeze_at=3, epochs=12, lr=1e-3, warmup=0.1, when=LOST)
    again = strategies.refit(tried)
    assert (again.freeze_at, again.epochs, again.when) == (3, 3, ALWAYS)
    assert again.lr == pytest.approx(2e-4)
    assert strategies.refit(TrainPhase(freeze_at=0, epochs=1, lr=1.0, warmup=0.0)).epochs == 1


@pytest.mark.parametrize(
    ("refits", "trained", "left"), [(True, 0, 76.2), (False, 0, 100.0), (True, 60, 61.9)]
)
def test_a_training_leaves_time_for_its_refit(
    pictures: Path, refits: bool, trained: float, left: float
):
    """A quarter of the epochs over all samples, here 1.25 times as many as are trained on; it takes
    as long after a training that was interrupted."""
    train, val = hold_out(open_dataset(str(pictures), modality="image", seed=0).train, 0.2, 0)
    splits = {"train": train, "val": val}
    model = build(open_source("digits04"), task=of_classes(["a", "b", "c"]))
    fitter = HeadFitter(
        None, model.task, model.backbone.head, lambda name: lambda: iter(()), splits
    )
    trainer = Trainer(
        model.backbone, Engine(precision="fp32", channels_last=False), None, fitter,
        Progress(), deadline=monotonic() + 100, trained=trained,
    )  # fmt: skip
    phase = TrainPhase(freeze_at=0, epochs=12, lr=1e-3, warmup=0.1)
    plan = SimpleNamespace(refit=refits, recipe=Recipe(), seed=0)
    assert len(train) == 24 and len(val) == 6
    training = trainer.training(plan, [phase], "train")
    assert training.deadline - monotonic() == pytest.approx(left, abs=2)
    whole = trainer.training(plan, [phase], "train", "val")
    assert whole.deadline - monotonic() == pytest.approx(100, abs=2)


def test_joined_loaders_give_every_sample_its_own_activations(pictures: Path):
    data = open_dataset(str(pictures), modality="image", seed=0)
    model = build(open_source("digits04"), task=of_classes(data.classes))
    whole = Inputs(data.train, model.preprocessor, view=model.view)
    parts = [np.arange(5, len(whole)), np.arange(5)]
    joined = Joined([Part(whole, part) for part in parts])
    assert len(joined) == len(whole) and joined.freeze_at == 0 and joined.lengths() is None
    back = np.concatenate(parts)
    order = [np.array([len(whole) - 2, 0, len(whole) - 1]), np.array([1, 2]), np.array([3])]
    for indices, activations in zip(order, joined.batches(order), strict=True):
        expected = next(whole.batches([back[indices]]))
        assert activations.keys() == expected.keys()
        assert all(torch.equal(activations[name], expected[name]) for name in expected)


def test_the_time_for_it_is_planned():
    backbone = build(open_source("digits04"), task=of_classes(["a", "b"])).backbone
    each = cost_model.Costs(
        decode=0.0,
        prepare=0.0,
        inference=1e-3 * backbone.depth,
        fold=0.0,
        forward=(1e-3,) * backbone.depth,
        backward=2.0,
        step=0.0,
        sample_bytes=0,
        activation_bytes=(1,) * backbone.depth,
        peak_bytes=0,
    )
    sizes = cost_model.Sizes(train=800, val=200, test=0, batch=32)
    epoch = each.epoch(0, sizes)
    assert each.refit(0, 2, sizes) == pytest.approx(2 * (epoch - 200 * each.through(0)) / 0.8)

    def epochs(refits: bool) -> int:
        phases, _ = policy.Policy(chooses=True).phases(
            backbone,
            each,
            sizes,
            steps=300,
            most_epochs=60,
            seconds=13 * epoch / 0.8 + each.passes(1000) / 0.8,
            refits=refits,
            pilots=False,
        )
        return phases[1].epochs

    assert epochs(True) == pytest.approx(epochs(False) / 1.3, rel=0.15)
