"""Each printed line names its subject and needs no other line."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zooadapt.cli import adapt as command
from zooadapt.heads.learning_curve import Curve, Point
from zooadapt.runtime.wording import counted, listed
from zooadapt.tasks import named, of_classes
from zooadapt.tasks.validation import Validation
from zooadapt.training import policy, setup
from zooadapt.training.config import Request
from zooadapt.training.plan_lines import plan_lines
from zooadapt.training.planning import _imbalance
from zooadapt.training.strategies import ALWAYS, GAINED, IN_DOUBT, LOST, FitPhase, TrainPhase


def test_one_is_singular() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    phrases = [counted(n, "class has", "classes have") for n in (1, 2)]
    assert phrases == ["1 class has", "2 classes have"]


def test_a_list_of_names_is_short() -> None:
    assert listed(["a", "b"]) == "a, b" and listed([]) == ""
    assert listed([*"abc"], most=2, separator="; ") == "a; b; ..."


def test_a_plan_is_numbered_steps() -> None:
    def phase(freeze_at: int, epochs: int, lr: float, when: str) -> TrainPhase:
        return TrainPhase(freeze_at=freeze_at, epochs=epochs, lr=lr, warmup=0.1, when=when)

    trained = (
        phase(5, 12, 1e-3, IN_DOUBT),
        phase(5, 12, 2e-4, LOST),
        phase(0, 1, 1e-3, GAINED),
    )
    plan = SimpleNamespace(
        strategy="auto", phases=(FitPhase(), *trained), trained=trained, depth=8, refit=True,
        train_samples=40, num_classes=5, device="cpu", choices=(),
    )  # fmt: skip
    assert [line.strip() for line in plan_lines(plan, None)] == [
        "plan: auto, in 5 steps",
        "1. fit the head on frozen features",
        "2. unless the features of all stages already predict a gain, fine-tune the last 3 of 8 "
        "stages, 12 epochs, learning rate 0.001",
        "3. if step 2 does not lower the validation loss, repeat it from the fitted head at "
        "learning rate 0.0002",
        "4. if fine-tuning lowers the validation loss, fine-tune all stages, 1 epoch, learning "
        "rate 0.001",
        "5. continue training on all labels, those held out for validation included",
        "40 samples, 5 classes, on cpu",
    ]
    reference = SimpleNamespace(phases=trained, trained=trained, depth=8)
    assert setup._reference(plan, reference).value == (
        "fine-tune the last 3 of 8 stages, 12 epochs, then all stages, 1 epoch"
    )
    plan.phases, plan.trained = (phase(8, 2, 1e-3, ALWAYS),), ()
    assert plan_lines(plan, None)[0] == (
        "plan: auto = fine-tune the head alone, 2 epochs, learning rate 0.001"
    )


@pytest.mark.parametrize(
    ("better", "worse", "sentence"),
    [
        (0, 0, "the model and knn are right about the same samples, 80 compared"),
        (1, 2, "the model is not significantly different from knn: it alone is right about 1 "
               "sample, knn alone about 2 (McNemar's exact test, p 1)"),
    ],
)  # fmt: skip
def test_an_insignificant_difference_shows_its_counts(
    better: int, worse: int, sentence: str
) -> None:
    one = {"name": "knn", "n": 80, "better": better, "worse": worse, "p": 1.0}
    assert command._tie(one, named("classification")) == sentence


@pytest.mark.parametrize(
    ("counts", "fact"),
    [
        ([24, 24], "each class has 24 training samples"),
        ([131, 30], "the largest class has 131 training samples, the smallest 30"),
    ],
)
def test_class_sizes_are_counts(tmp_path, counts: list[int], fact: str) -> None:
    request = Request(source="s", data="d", out=tmp_path)
    assert _imbalance(request, of_classes("ab"), np.array(counts))[1].startswith(fact)


def test_a_learning_curve_says_what_its_accuracy_is_of() -> None:
    curve = Curve(
        points=(Point(samples=324, accuracy=0.985, n=324),), exponent=0.5,
        exponent_interval=(0.2, 0.8), twice=0.99, twice_interval=(0.987, 0.992),
    )  # fmt: skip
    assert curve.sentence == (
        "more labels: a head on frozen features has cross-validated accuracy 0.985 on these 324 "
        "samples; twice the labels would likely bring it to 0.990, +0.5 points (95 % interval "
        "+0.2 to +0.7)"
    )


@pytest.mark.parametrize(
    ("share", "from_scratch", "model"),
    [
        (0.75, False, "weight average, 75% the fine-tuned model and 25% the linear probe"),
        (1.0, False, "the fine-tuned model"),
        (1.0, True, "the model trained from random weights"),
    ],
)
def test_a_model_between_two_is_an_average(share: float, from_scratch: bool, model: str) -> None:
    def measure(one: float) -> Validation:
        loss = 0.1 if one == share else 1.0
        return Validation(loss=loss, accuracy=0.5, score=0.5, scale=1.0,
                          losses=torch.full((9,), loss))  # fmt: skip

    answer = policy.Policy(chooses=True).model(measure, trained=True, from_scratch=from_scratch)
    assert answer.name == model
