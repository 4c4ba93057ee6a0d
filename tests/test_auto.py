"""`--strategy auto`: what is taken, what is looked at first, and what the run does with it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import build
from zooadapt.backbone.staged import channel_means
from zooadapt.cli import root
from zooadapt.data import open_dataset
from zooadapt.heads import selection
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.tasks.classification import Classification
from zooadapt.training import policy, transferability
from zooadapt.training.checkpoint import Checkpoint
from zooadapt.training.config import Request
from zooadapt.training.cost_model import Costs, Sizes
from zooadapt.training.loop import Training
from zooadapt.training.objectives import Supervised
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import (
    ALWAYS,
    GAINED,
    IN_DOUBT,
    LOST,
    FitHead,
    FitPhase,
    Recipe,
    Train,
    TrainPhase,
)
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo.sources import open_source


@pytest.fixture(scope="module")
def backbone():
    return build(open_source("digits04"), task=of_classes(("a", "b"))).backbone


def costs(depth: int, stage: float = 1e-3) -> Costs:
    return Costs(
        decode=0.0,
        prepare=0.0,
        inference=depth * stage / 2,
        fold=0.0,
        forward=(stage,) * depth,
        backward=2.0,
        step=0.0,
        sample_bytes=0,
        activation_bytes=(100,) * depth,
        peak_bytes=1,
    )


def planned(backbone, seconds: float, *, pilots: bool = True) -> list:
    sizes = Sizes(train=320, val=80, test=0, batch=32)
    planned_phases, choices = policy.Policy(chooses=True).phases(
        backbone,
        costs(backbone.depth),
        sizes,
        steps=300,
        most_epochs=60,
        seconds=seconds,
        refits=False,
        pilots=pilots,
    )
    assert all(choice.why for choice in choices)
    return list(planned_phases)


def test_with_time_the_whole_network_is_trained_and_the_last_stages_first_where_in_doubt(backbone):
    fit_head, first, slower, deep, deep_slower = planned(backbone, 1e6)
    assert isinstance(fit_head, FitHead)
    assert (first.when, deep.when) == (IN_DOUBT, GAINED)
    assert slower == replace(first, lr=policy.SLOWER * first.lr, when=LOST)
    assert deep_slower == replace(deep, lr=policy.SLOWER * deep.lr, when=LOST)
    assert backbone.resolve(first.freeze_at) == round(policy.PILOT * backbone.depth)
    assert (backbone.resolve(deep.freeze_at), deep.epochs) == (0, 30)


def test_less_time_makes_a_shallower_cut_and_none_leaves_the_solved_head(backbone):
    freeze_points = []
    for seconds in (1e6, 400.0, 100.0, 40.0, 10.0, 0.1):
        trained = [p for p in planned(backbone, seconds) if isinstance(p, Train)]
        freeze_points.append(backbone.resolve(trained[-1].freeze_at) if trained else backbone.depth)
    assert freeze_points == sorted(freeze_points)
    assert (
        freeze_points[0] == 0
        and freeze_points[-1] == backbone.depth
        and len(set(freeze_points)) > 2
    )


def test_without_scouting_there_is_one_trained_phase_and_what_follows_if_it_lost(backbone):
    fit_head, deep, slower = planned(backbone, 1e6, pilots=False)
    assert (type(fit_head), deep.when, slower.when) == (FitHead, ALWAYS, LOST)


def in_phases(
    pictures: Path, progress: Progress, phases: list[tuple[str, float]]
) -> tuple[Training, float]:
    """A training in two epochs of each phase, when it is begun and at which rate; the loss of a
    head of zeros."""
    data = open_dataset(str(pictures), modality="image", seed=0)
    model = build(open_source("digits04"), task=of_classes(data.classes))
    loader = Inputs(data.train, model.preprocessor, view=model.view)
    labels = torch.from_numpy(data.train.labels)
    objective = Supervised(
        model.backbone,
        Engine(precision="fp32", channels_last=False),
        Recipe(batch_size=8),
        loader_at=lambda freeze_at, held_out: loader,
        labels=labels,
        val_labels=labels,
        evening=torch.ones(len(data.classes), dtype=torch.float64),
        task=data.task,
    )
    training = Training(
        objective,
        [TrainPhase(freeze_at=0, epochs=2, lr=lr, warmup=0.0, when=when) for when, lr in phases],
        seed=0,
        progress=progress,
    )
    return training, float(np.log(len(data.classes)))


LOST_AT_FIRST = [(ALWAYS, 3.0), (LOST, 1e-3), (GAINED, 3.0)]
"""The first phase loses and the second gains."""
GAINED_AT_FIRST = [(IN_DOUBT, 1e-3), (LOST, 2e-4), (GAINED, 1e-3), (LOST, 2e-4)]
"""The first phase gains, so that neither of those that are slower is begun."""


class Shown(Progress):
    """Names of the bars, and the lines."""

    def __init__(self) -> None:
        self.bars: list[str] = []
        self.lines: list[str] = []

    def task(self, what: str, total: int):
        self.bars.append(what)
        return super().task(what, total)

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_what_lost_is_tried_again_from_where_it_began_and_slower_ever_after(
    pictures: Path, tmp_path: Path
):
    shown = Shown()
    training, even = in_phases(pictures, shown, LOST_AT_FIRST)
    checkpoint = Checkpoint(tmp_path / "out", facts={}, every=1e9)
    history = training.run(keep_start=False, checkpoint=checkpoint, resume=False)
    names = [f"training phase {k}, epoch {epoch} of 2" for k in (1, 2, 3) for epoch in (1, 2)]
    assert shown.bars == names and [line.partition(":")[0] for line in shown.lines] == names
    losses = {k: [e.val_loss for e in history.epochs if e.phase == k] for k in range(3)}
    assert min(losses[0]) > 0.9 * even
    assert max(losses[1]) < min(losses[0]) and min(losses[1]) < even
    assert max(losses[2]) < min(losses[0])


@pytest.mark.parametrize(
    ("phases", "freeze_at", "begun"),
    [
        (LOST_AT_FIRST, "training phase 2, epoch 2", [0, 1, 2]),
        (GAINED_AT_FIRST, "training phase 3, epoch 1", [0, 2]),
        (GAINED_AT_FIRST, "training phase 3, epoch 2", [0, 2]),
    ],
    ids=["in one that is begun after a loss", "after one that was left out", "an epoch later"],
)
def test_the_phase_that_was_interrupted_is_the_one_that_is_resumed(
    pictures: Path,
    tmp_path: Path,
    phases: list[tuple[str, float]],
    freeze_at: str,
    begun: list[int],
):
    class Stops(Progress):
        def say(self, line: str) -> None:
            if line.startswith(freeze_at):
                raise KeyboardInterrupt

    histories = []  # of a whole run, and of one that is resumed in that phase
    for progress, resume in ((Progress(), False), (Stops(), False), (Progress(), True)):
        training, _ = in_phases(pictures, progress, phases)
        checkpoint = Checkpoint(tmp_path / "out", facts={}, every=0)
        with suppress(KeyboardInterrupt):
            histories.append(
                training.run(keep_start=False, checkpoint=checkpoint, resume=resume).epochs
            )
    whole, resumed = histories
    assert whole == resumed
    assert [epoch.phase for epoch in whole] == [phase for phase in begun for _ in range(2)]


def test_a_tie_goes_to_the_simpler():
    rng = np.random.default_rng(0)
    simple = torch.from_numpy(rng.random(200))
    noise = torch.from_numpy(rng.normal(0, 0.1, 200))
    assert selection.simplest([simple, simple + noise - noise.mean()])[0] == 0
    assert selection.simplest([simple, simple + noise - noise.mean() - 0.05])[0] == 1
    assert selection.simplest([simple, simple - 0.1, simple - 0.2])[0] == 2
    hardly_better = simple - 0.205 + noise - noise.mean()
    assert selection.simplest([simple, simple - 0.2, hardly_better])[0] == 1
    chosen, gain, error = selection.simplest([simple, simple - 0.2 + noise - noise.mean()])
    assert chosen == 1 and gain == pytest.approx(0.2)
    assert error == pytest.approx(float(noise.std()) / 200**0.5)


@pytest.mark.parametrize("lost", [True, False])
def test_room_is_where_earlier_stages_know_what_the_last_one_lost(lost: bool):
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 3
    known = np.eye(3)[labels] + rng.normal(0, 0.3, (120, 3))
    unknown = rng.normal(0, 0.5, (120, 3))
    last, early = (unknown, known) if lost else (known, unknown)
    rows = {name: torch.from_numpy(x).float() for name, x in (("early", early), ("last", last))}
    losses = transferability.stage_losses(
        rows["last"], rows, torch.from_numpy(labels), Classification.of(3)
    )
    phases = (FitPhase(), phase(3, IN_DOUBT), phase(3, LOST), phase(0, GAINED), phase(0, LOST))
    after, choice = policy.Policy(chooses=True).start(plan(*phases), *losses)
    assert after.phases == ((FitPhase(), *phases[3:]) if lost else phases)
    assert "standard error" in choice.why


@pytest.mark.parametrize("untrained", ["knows nothing", "knows as much", "overflows"])
def test_an_untrained_network_that_knows_as_much_is_trained(untrained: str):
    answer = departure({"knows nothing": 9.0, "knows as much": 0.3}.get(untrained), 1200)
    assert answer.retrains is (untrained == "knows as much")
    assert answer.trains and not answer.untrained
    assert "1.099 with none" in answer.why  # the logarithm of three
    assert answer.plan.from_scratch is answer.retrains


@pytest.mark.parametrize("noise", [0.1, 0.3, None])
def test_with_few_labels_its_network_untrained_has_to_know_more(noise: float | None):
    answer = departure(noise, 150)
    assert answer.untrained is (noise == 0.1) and answer.trains is not answer.untrained
    assert not answer.retrains and "standard error" in answer.why


def test_with_many_labels_an_untrained_network_may_be_better_as_it_is():
    answer = departure(0.1, 1200)
    assert answer.untrained and answer.retrains


def test_a_plan_that_freezes_stages_trains_no_random_weights():
    answer = departure(0.1, 1200, freeze_at=2)
    assert answer.untrained and not answer.retrains and not answer.trains
    assert departure(0.3, 1200, freeze_at=2).plan.from_scratch is False


def departure(noise: float | None, count: int, freeze_at: int = 0) -> policy.Departure:
    """The answer about a source whose features have a noise of 0.3, its network untrained having
    features with this noise, or such as overflow."""
    rng = np.random.default_rng(2)
    labels = np.arange(count) % 3
    source, untrained = (
        np.eye(3)[labels] + rng.normal(0, 0.3 if sd is None else sd, (count, 3))
        for sd in (0.3, noise)
    )
    untrained = untrained * np.inf if noise is None else untrained
    rows = (torch.from_numpy(x).float() for x in (source, untrained))
    losses = transferability.source_losses(*rows, torch.from_numpy(labels), Classification.of(3))
    return policy.Policy(chooses=True).leave_source(
        plan(FitPhase(), phase(freeze_at, ALWAYS)), losses
    )


def phase(freeze_at: int, when: str) -> TrainPhase:
    return TrainPhase(freeze_at=freeze_at, epochs=4, lr=1e-3, warmup=0.1, when=when)


def plan(*phases: FitPhase | TrainPhase) -> Plan:
    return Plan(
        source="s", revision=None, sha256="", family="f", data="d", strategy="auto", phases=phases,
        head="ridge", recipe=Recipe(), precision="fp32", channels_last=False, device="cpu", seed=0,
        depth=5, num_classes=3, train_samples=1200, val="held out", val_fraction=0.2, refit=True,
        folds=0, repeats=0, grouped=False, suspects="keep", from_scratch=False, choices=(),
    )  # fmt: skip


def test_a_source_of_no_use_is_left_for_random_weights(tmp_path: Path):
    rng = np.random.default_rng(3)
    words = [["".join(rng.choice(list(letters), 6)) for letters in ("abcdef", "uvwxyz")]
             for _ in range(900)]  # fmt: skip
    table = tmp_path / "words.csv"
    rows = [f"{text},{label}" for pair in words for text, label in zip(pair, "xy", strict=True)]
    table.write_text("\n".join(["text,label", *rows]))
    request = Request(source="english", data=str(table), out=tmp_path / "out", epochs=1)
    report = adapt(request, Progress()).report
    first, last = report["decisions"][0], report["decisions"][-1]
    assert "from random weights" in first["value"] and "untrained" in first["why"]
    assert report["plan"]["from_scratch"] is ("from random weights" in last["value"])
    assert report["frozen"]["sha256_before"] == report["frozen"]["sha256_after"]
    assert report["val"]["accuracy"] > 0.95


def signs(place: Path, count: int) -> Path:
    """So many texts of each of two classes, of signs that the source has hardly seen."""
    rng = np.random.default_rng(3)
    letters, table = ("#%&@", "^~|<"), place / "signs.csv"
    rows = ["text,label"]
    for _ in range(count):
        for k, label in enumerate("xy"):
            drawn = [
                rng.choice(list(letters[k if rng.random() < 0.8 else 1 - k])) for _ in range(6)
            ]
            rows.append(f"{''.join(drawn)},{label}")
    table.write_text("\n".join(rows))
    return table


def test_with_few_labels_the_head_is_solved_on_the_network_that_knows_more(tmp_path: Path):
    options = {"source": "english", "data": str(signs(tmp_path, 80)), "epochs": 1}
    report = adapt(Request(**options, out=tmp_path / "auto"), Progress()).report
    probe = adapt(Request(**options, out=tmp_path / "probe", strategy="probe"), Progress()).report
    (decision,) = report["decisions"]
    assert "the untrained network" in decision["value"]
    assert report["plan"]["from_scratch"] and not report["epochs"] and not report["refitted"]
    assert report["frozen"]["tensors"] == 0
    assert report["val"]["accuracy"] > probe["val"]["accuracy"]
    assert {one["name"] for one in report["comparisons"]} >= {"majority", "knn", "probe"}
    assert report["conclusion"].endswith("next time: another source")
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("auto", "probe"))
    assert not any(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "with random weights" in (tmp_path / "auto" / "README.md").read_text()


def test_with_many_labels_no_head_is_exported_on_a_source_that_knows_less(tmp_path: Path):
    """Random weights are trained and gain nothing at such a rate: the untrained network stays."""
    options = {"source": "english", "data": str(signs(tmp_path, 900)), "epochs": 1}
    report = adapt(Request(**options, out=tmp_path / "out", lr=1e-9), Progress()).report
    first, last = report["decisions"]
    assert "from random weights" in first["value"] and report["epochs"]
    assert last["value"] == "the untrained network, its head fitted on all samples"
    assert report["plan"]["from_scratch"] and report["plan"]["val"] != "held out"
    assert report["conclusion"].endswith("next time: another source")


def test_a_run_that_left_its_source_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Stops(Progress):
        def say(self, line: str) -> None:
            if "epoch 2 of" in line:
                raise KeyboardInterrupt

    options = {"source": "english", "data": str(signs(tmp_path, 900)), "epochs": 2,
             "precision": "fp32", "checkpoint_seconds": 0.0}  # fmt: skip
    whole = adapt(Request(**options, out=tmp_path / "whole"), Progress()).report
    assert "from random weights" in whole["decisions"][0]["value"]
    assert {epoch["phase"] for epoch in whole["epochs"]}  # or the test tests nothing
    with pytest.raises(KeyboardInterrupt):
        adapt(Request(**options, out=tmp_path / "cut"), Stops())
    monkeypatch.setattr(transferability.Transferability, "of_source", None)  # not looked at again
    resumed = adapt(Request(**options, out=tmp_path / "cut", resume=True), Progress()).report
    for key in ("decisions", "plan", "epochs"):
        assert resumed[key] == whole[key]
    ours, theirs = (tmp_path / name / "model.safetensors" for name in ("cut", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_channel_means_find_the_channels():
    image, tokens = torch.rand(2, 5, 4, 4), torch.rand(2, 7, 5)
    last = image.permute(0, 2, 3, 1)
    assert torch.equal(channel_means({"x": image}, None), image.mean((2, 3)))
    assert torch.equal(channel_means({"x": last}, -1), last.mean((1, 2)))
    assert torch.equal(channel_means({"x": tokens}, None), tokens.mean(1))
    both = channel_means(
        {"features": torch.ones(2, 3), "sizes": torch.ones(2).long(), "x": tokens}, None
    )
    assert both.shape == (2, 8)


def noisy(pictures: Path, place: Path) -> Path:
    """The pictures with so much noise that no solved head is right throughout."""
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        noise = np.random.default_rng(number).normal(0, 120, (16, 16))
        pixels = (np.asarray(Image.open(path)) + noise).clip(0, 255).astype(np.uint8)
        (place / "noisy" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / "noisy" / path.parent.name / path.name)
    return place / "noisy"


def test_auto_says_what_it_rests_on(pictures: Path, tmp_path: Path):
    request = Request(
        source="digits04",
        data=str(noisy(pictures, tmp_path)),
        out=tmp_path / "out",
        budget=3600.0,
        epochs=4,
    )
    report = adapt(request, Progress()).report
    assert set(report["baselines"]) == {"majority", "knn", "probe"}
    assert [decision["what"] for decision in report["decisions"]] == [
        "train",
        "model",
        "refit",
    ]
    assert all("standard error" in decision["why"] for decision in report["decisions"][:2])
    begun = {epoch["phase"] for epoch in report["epochs"]}
    assert begun and report["steps"] > 0
    assert report["conclusion"].startswith("conclusion: on ")


def test_a_head_that_is_right_throughout_is_kept_without_training(pictures: Path, tmp_path: Path):
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out", epochs=4)
    report = adapt(request, Progress()).report
    assert report["baselines"]["probe"]["accuracy"] == 1.0  # or the test tests nothing
    assert not report["epochs"] and not report["plan"]["phases"][1:]
    assert report["decisions"][-1]["value"] == "the linear probe, its head fitted on all samples"
    assert "--strategy probe" in report["conclusion"]
    assert report["plan"]["train_samples"] == report["val"]["n"] == 30


def test_a_plan_takes_no_longer_than_its_budget(pictures: Path, tmp_path: Path):
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out",
                      budget=600, strategy="full", epochs=1_000_000, plan_only=True)  # fmt: skip
    assert adapt(request, Progress()).report["estimate"]["seconds"] == 600


def test_a_spent_budget_exports_the_solved_head(pictures: Path, tmp_path: Path):
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out", budget=0.01)
    result = adapt(request, Progress())
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert not result.plan.trained and not result.report["epochs"]
    assert result.report["val"]["n"] == result.report["data"]["samples"]["train"]
    assert result.plan.train_samples == result.report["val"]["n"]


def test_training_that_was_of_no_use_leaves_the_probe(pictures: Path, tmp_path: Path, capsys):
    pictures = noisy(pictures, tmp_path)
    options = {"source": "digits04", "data": str(pictures), "precision": "fp32"}
    auto_out, probe_out = tmp_path / "auto", tmp_path / "probe"
    words = ["adapt", "digits04", str(pictures), "-o", str(auto_out), "--precision", "fp32"]
    root.main([*words, "--lr", "3", "--epochs", "2"], standalone_mode=False)
    shown = re.findall(r"│ (\w+) +│ ([\w-]+(?: \w+)?) +│ .* (\d+) │", capsys.readouterr().out)
    report = json.loads((auto_out / "report.json").read_text())
    samples = report["data"]["samples"]
    assert report["plan"]["train_samples"] == samples["train"] + samples["val"] == 30
    held_out = [(name, "held out", "6") for name in ("majority", "knn", "probe")]
    assert samples["val"] == 6
    assert shown == [("val", "leave-one-out", "30"), ("test", "test part", "6"), *held_out]
    adapt(Request(**options, out=probe_out, strategy="probe"), Progress())
    assert report["epochs"] and not report["refitted"]
    assert "the linear probe" in report["decisions"][-1]["value"]
    ours, theirs = (load_file(out / "model.safetensors") for out in (auto_out, probe_out))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)


def test_a_single_epoch_goes_to_the_whole_network(pictures: Path, tmp_path: Path):
    data = str(noisy(pictures, tmp_path))
    request = Request(source="digits04", data=data, out=tmp_path / "out", epochs=1,
                      precision="fp32", budget=1e5)  # fmt: skip
    report = adapt(request, Progress()).report
    assert report["epochs"][0]["phase"] == 0
    planned = [phase for phase in report["plan"]["phases"] if phase["kind"] == "train"]
    assert [(one["cut"], one["epochs"]) for one in planned] in ([], [(0, 1)], [(0, 1), (0, 1)])


def test_one_sample_a_class_leaves_nothing_to_compare_epochs_by(pictures: Path, tmp_path: Path):
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out",
                      labels_per_class=1)  # fmt: skip
    report = adapt(request, Progress()).report
    assert [phase["kind"] for phase in report["plan"]["phases"]] == ["solve"]
    whys = [choice["why"] for choice in report["plan"]["choices"]]
    assert any("no class has a sample to spare" in why for why in whys)


def test_without_a_cache_the_frozen_source_is_passed_once(pictures: Path, tmp_path: Path):
    class Watched(Progress):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def task(self, what: str, total: int):
            self.seen.append(what)
            return super().task(what, total)

    reports = []
    for gigabytes in (0, 1):
        request = Request(
            source="digits04", data=str(pictures), out=tmp_path / str(gigabytes), epochs=1,
            strategy="lp-ft", precision="fp32", batch_size=8, cache_gb=gigabytes,
        )  # fmt: skip
        watched = Watched()
        reports.append(adapt(request, watched).report)
        assert watched.seen.count("features") == (0 if gigabytes else 2)  # train and val
    computed, stored = (report["baselines"]["probe"] for report in reports)
    assert computed == {name: pytest.approx(value, rel=1e-4) for name, value in stored.items()}
