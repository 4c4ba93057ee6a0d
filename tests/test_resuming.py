"""A run that was interrupted, wherever that was, goes on as the same run."""

from __future__ import annotations

import itertools
import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.precision import Mode
from zooadapt.backbone.pretrained import build
from zooadapt.data import open_dataset
from zooadapt.errors import DataError, ResourceError
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.training import checkpoint, setup
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.config import Request
from zooadapt.training.operation_counts import OPERATIONS, count
from zooadapt.training.transferability import Transferability
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.inputs import open_inputs
from zooadapt.zoo.sources import open_source

WEIGHTS = "model.safetensors"


class Stops(Progress):
    """Interrupts when a line begins with these words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def say(self, line: str) -> None:
        if line.startswith(self.words):
            raise KeyboardInterrupt


def run(data: Path, out: Path, progress: Progress | None = None, **options: Any) -> dict[str, Any]:
    request = Request(
        source="digits04",
        data=str(data),
        out=out,
        **{"precision": "fp32", "batch_size": 8, "checkpoint_seconds": 0.0} | options,
    )
    return adapt(request, progress or Progress()).report


def force_layout(monkeypatch: pytest.MonkeyPatch, *, channels_last: bool) -> None:
    mode = Mode(precision="fp32", channels_last=channels_last, device="cpu", why="the test's")
    monkeypatch.setattr(setup, "choose", lambda *_, **__: mode)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_ends_in_the_same_bytes_in_either_layout(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels_last: bool,
    optimizer: str,
) -> None:
    force_layout(monkeypatch, channels_last=channels_last)
    options = {"strategy": "full", "epochs": 4, "optimizer": optimizer, "ema": 0.5}
    whole = run(pictures, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "cut", Stops("epoch 3"), **options)
    resumed = run(pictures, tmp_path / "cut", resume=True, **options)
    assert resumed["plan"]["channels_last"] is channels_last
    assert resumed["epochs"] == whole["epochs"]
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve pictures of noise: no head is right on all of them."""
    root = tmp_path_factory.mktemp("noise")
    for label, number in itertools.product(range(3), range(12)):
        pixels = np.random.default_rng((label, number)).integers(0, 256, (16, 16), dtype=np.uint8)
        (root / f"class{label}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    return root


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("something was measured again")


def test_a_resumed_run_takes_over_its_options_and_its_plan(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another cache, at another load: nothing is measured that was measured before."""
    options = {"strategy": "auto", "epochs": 8, "seed": 3, "metric": "balanced-accuracy"}
    whole = run(noise, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        run(noise, tmp_path / "cut", Stops("training phase 1, epoch 2"), **options)
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "another"))
    for name in ("measure", "choose"):
        monkeypatch.setattr(setup, name, never)
    resumed = run(noise, tmp_path / "cut", resume=True)
    changing = ("seconds", "out")
    assert {k: v for k, v in resumed.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def slopes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that early stages distinguish better than the last ones: noise on a slope."""
    root = tmp_path_factory.mktemp("slopes")
    for label, number in itertools.product(range(3), range(25)):
        slope = np.rot90(np.tile(np.linspace(0, 120, 16), (16, 1)), label)
        noise = np.random.default_rng((label, number)).normal(60, 120, (16, 16))
        (root / f"class{label}").mkdir(exist_ok=True)
        image = Image.fromarray((slope + noise).clip(0, 255).astype(np.uint8))
        image.save(root / f"class{label}" / f"{number}.png")
    return root


def test_a_resumed_run_takes_over_its_decisions(
    slopes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run that has no room for features could not decide it."""
    options = {"strategy": "auto", "epochs": 4}
    whole = run(slopes, tmp_path / "whole", **options)
    assert whole["decisions"][0]["value"] == "at once"  # or the test tests nothing
    with pytest.raises(KeyboardInterrupt):
        run(slopes, tmp_path / "cut", Stops("training phase 1, epoch 2"), **options)
    for name in ("of_source", "of_stages"):
        monkeypatch.setattr(Transferability, name, never)
    resumed = run(slopes, tmp_path / "cut", resume=True, cache_gb=0.0)
    for key in ("decisions", "plan", "epochs"):
        assert resumed[key] == whole[key]


def test_an_option_that_the_user_gives_can_contradict(pictures: Path, tmp_path: Path) -> None:
    options = {"strategy": "full", "epochs": 3, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Stops("epoch 1"), **options)
    for name, value in {"seed": 4, "epochs": 5, "input_size": 24}.items():
        with pytest.raises(DataError, match=f"--{name.replace('_', '-')}, not {value}") as caught:
            run(pictures, tmp_path / "out", resume=True, **{name: value})
        assert "leave --" in caught.value.remedy
    with pytest.raises(DataError, match="had 3 for --seed, not 0"):
        run(pictures, tmp_path / "out", resume=True, seed=0, typed=frozenset({"seed"}))
    assert run(pictures, tmp_path / "out", resume=True, seed=3, budget=1e4)["plan"]["seed"] == 3


def test_a_resumed_run_keeps_its_budget_and_its_room(pictures: Path, tmp_path: Path) -> None:
    options = {"strategy": "full", "epochs": 3, "budget": 1e4, "cache_gb": 0.5}
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Stops("epoch 2"), **options)
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out", resume=True)
    for typed, budget in (({}, 1e4), ({"budget": 5e3}, 5e3)):
        opened = open_inputs(replace(request, **typed), Progress())
        assert (opened.request.budget, opened.request.cache_gb) == (budget, 0.5)
        assert opened.request.checkpoint_seconds == 0.0
    assert len(run(pictures, tmp_path / "out", resume=True)["epochs"]) == 3


@pytest.mark.parametrize(("seconds", "epochs"), [(0.0, 4), (2e4, 1)])
def test_the_budget_of_a_run_is_that_of_all_its_training(
    pictures: Path, tmp_path: Path, seconds: float, epochs: int
) -> None:
    """The saved state holds so many seconds of training, of the 10,000 that there are."""
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Stops("epoch 2"), strategy="full", epochs=4, budget=1e4)
    path = tmp_path / "out.checkpoint/config.json"
    saved = json.loads(path.read_text())
    assert saved["progress"]["seconds"] > 0
    saved["progress"]["seconds"] = seconds
    path.write_text(json.dumps(saved))
    report = run(pictures, tmp_path / "out", resume=True)
    assert len(report["epochs"]) == epochs
    assert report["stopped"] == (None if epochs == 4 else "the budget was spent")
    assert seconds < report["seconds"]["train"] < report["seconds"]["total"]


def test_a_run_that_was_interrupted_in_its_refit_repeats_that_alone(
    pictures: Path, tmp_path: Path
) -> None:
    class Watched(Progress):
        def __init__(self, ends_at: str = "") -> None:
            self.epochs: list[str] = []
            self.ends_at = ends_at

        def task(self, what: str, total: int) -> Any:
            self.epochs += [what] if what.startswith("epoch") else []
            if what == self.ends_at:
                raise KeyboardInterrupt
            return super().task(what, total)

    options = {"strategy": "full", "epochs": 8}
    refit = ["epoch 1 of 2", "epoch 2 of 2"]
    whole, freeze_at, resumed = Watched(), Watched("epoch 2 of 2"), Watched()
    run(pictures, tmp_path / "whole", whole, **options)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "cut", freeze_at, **options)
    run(pictures, tmp_path / "cut", resumed, resume=True)
    assert whole.epochs[-2:] == refit and whole.epochs == freeze_at.epochs
    assert resumed.epochs == refit
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_a_run_that_replaces_a_model_is_resumed_as_one(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out", strategy="probe")
    options = {"strategy": "full", "epochs": 2, "overwrite": True}
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Stops("epoch 1"), **options)
    assert len(run(pictures, tmp_path / "out", resume=True)["epochs"]) == 2


@pytest.mark.parametrize("imbalance", ["sampler", "none"])
def test_within_an_epoch_no_step_is_done_twice(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imbalance: str
) -> None:
    options = {"strategy": "full", "epochs": 3, "ema": 0.9, "imbalance": imbalance, "mixup": 0.2}
    whole = run(pictures, tmp_path / "whole", **options)
    save = Checkpoint.save

    def stops(self: Checkpoint, tensors: Any, progress: Any) -> None:
        save(self, tensors, progress)
        if (progress["epoch"], progress["step"]) == (1, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", stops)
        patch.setattr(checkpoint, "_SHARE", 1e9)  # save after each step
        run(pictures, tmp_path / "cut", **options)
    resumed = run(pictures, tmp_path / "cut", resume=True)
    assert (resumed["epochs"], resumed["steps"]) == (whole["epochs"], whole["steps"])
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_a_resumed_run_needs_the_stored_activations_it_had(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Stops("epoch 1"), strategy="from:stages.2", epochs=2)
    with pytest.raises(ResourceError, match="were in the cache when the run was interrupted"):
        run(pictures, tmp_path / "out", resume=True, cache_gb=0.0)
    assert len(run(pictures, tmp_path / "out", resume=True)["epochs"]) == 2


def test_a_checkpoint_without_its_run_is_another_versions(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out.checkpoint").mkdir()
    (tmp_path / "out.checkpoint/config.json").write_text('{"facts": {}, "progress": {}}')
    with pytest.raises(DataError, match="another version"):
        run(pictures, tmp_path / "out", resume=True)


def test_an_interrupted_command_says_how_to_go_on(pictures: Path, tmp_path: Path) -> None:
    words = ["adapt", "digits04", str(pictures), "-o", "o u t", "--strategy", "full",
             "--epochs", "400", "--batch-size", "8"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "zooadapt", *words], cwd=tmp_path, text=True, stderr=subprocess.PIPE
    )
    while process.poll() is None and not (tmp_path / "o u t.checkpoint").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    *_, last = process.communicate()[1].splitlines()
    assert process.returncode == 130
    place, _, command = last.partition(" Continue with: ")
    assert place == "interrupted: the checkpoint is in 'o u t.checkpoint'."
    assert command == shlex.join(["zooadapt", *words, "--resume"])
    assert shlex.split(command)[1:-1] == words


def test_a_deterministic_plan_measures_nothing(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"strategy": "auto", "plan_only": True, "precision": "auto"}
    measured = run(noise, tmp_path / "out", **options)["plan"]["choices"]
    (reference,) = [choice for choice in measured if choice["what"] == "plan at reference costs"]
    assert reference["value"] == "the same" or reference["value"].startswith("fine-tune the last")
    for name in ("measure", "choose"):
        monkeypatch.setattr(setup, name, never)
    options |= {"deterministic_plan": True}
    plans = [
        run(noise, tmp_path / "out", budget=seconds, **options)["plan"]
        for seconds in (600.0, 600.0, 0.02)
    ]
    assert plans[0] == plans[1] and plans[0]["precision"] == "fp32"
    assert plans[0]["phases"] != plans[2]["phases"]


def test_operations_are_counted_in_every_stage_of_either_kind(noise: Path) -> None:
    texts = noise / "texts.csv"
    texts.write_text("text,label\n" + "".join(f"word {k},{k % 2}\n" for k in range(8)))
    for source, data, modality in (("digits04", noise, "image"), ("rnn:english", texts, "text")):
        data_set = open_dataset(str(data), modality=modality, seed=0)
        model = build(open_source(source), task=of_classes(data_set.classes))
        engine = Engine(precision="fp32", channels_last=False)
        inputs = Inputs(data_set.train, model.preprocessor, view=model.view,
                        variable_length=modality == "text")  # fmt: skip
        costs = [count(model.backbone, engine, inputs, batch_size=8) for _ in range(2)]
        assert costs[0].forward == costs[1].forward and min(costs[0].forward) > 0
        # A multiplication and an addition for each weight and each place that it is used at.
        parameters = sum(p.numel() for p in model.backbone.net.parameters())
        assert sum(costs[0].forward) * OPERATIONS > parameters
