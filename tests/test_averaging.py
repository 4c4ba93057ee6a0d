"""Means of a run's own states: which are kept, which are averaged, and what an export then is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import build
from zooadapt.data import ReadOptions, open_dataset
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.tasks.validation import Validation
from zooadapt.training import norm_statistics
from zooadapt.training.config import Request
from zooadapt.training.weight_averaging import BestStates, Candidate, State, blend, copy, soup
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo.sources import open_source


def validation(loss: float) -> Validation:
    return Validation(loss=loss, accuracy=0.5, score=0.5, scale=1.0, losses=torch.full((4,), loss))


def valley(state: State) -> tuple[Validation, State]:
    """A loss that is lowest where the weight is 0."""
    return validation(float(state["w"]) ** 2), state


def at(epoch: int, weight: float) -> Candidate:
    state = {"w": torch.tensor(weight)}
    return Candidate(epochs=(epoch,), validation=valley(state)[0], state=state)


def test_a_soup_averages_only_states_that_lower_its_loss():
    best = soup([at(3, 1.0), at(5, 1.5), at(2, -1.6)], valley)
    assert best.epochs == (3, 2)
    torch.testing.assert_close(best.state["w"], torch.tensor(-0.3))
    assert best.validation.loss < 1.0


def test_one_candidate_is_its_own_soup():
    only = at(1, 0.5)
    assert soup([only], valley) is only


def test_the_best_states_are_kept_in_order_and_survive_a_checkpoint():
    net, states = nn.Linear(1, 1, bias=False), BestStates(2)
    best = []
    for epoch, loss in enumerate([3.0, 1.0, 2.0, 4.0, 1.0]):
        nn.init.constant_(net.weight, float(epoch))
        best.append(states.offer(epoch, validation(loss), net))
    assert best == [True, True, False, False, False]
    assert [one.epochs for one in states.candidates] == [(1,), (4,)]
    assert [float(one.state["weight"]) for one in states.candidates] == [1.0, 4.0]
    again = BestStates(2)
    again.restore(states.tensors(), states.facts(), "cpu")
    assert again.facts() == states.facts()
    assert all(torch.equal(again.tensors()[name], t) for name, t in states.tensors().items())


def test_a_run_with_a_soup_exports_a_mean_that_is_no_worse(pictures: Path, tmp_path: Path):
    losses, averaged = [], []
    for more in (0, 3):
        request = Request(
            source="digits04", data=str(pictures), out=tmp_path / str(more), strategy="full",
            epochs=8, batch_size=8, precision="fp32", norm_statistics="train", soup=more, lr=1e-2,
        )  # fmt: skip
        report = adapt(request, Progress()).report
        losses.append(report["epochs"][report["best_epoch"] - 1]["val_loss"])
        averaged.append(report["averaged_epochs"])
        assert report["best_epoch"] in report["averaged_epochs"]
    assert losses[0] == losses[1]  # what is averaged afterwards does not touch the epochs
    assert len(averaged[0]) == 1 < len(averaged[1])


def test_norm_statistics_are_reestimated_from_the_freeze_point_on(pictures: Path):
    model = build(open_source("digits04"), task=of_classes(("a", "b")))
    backbone, engine = model.backbone, Engine(precision="fp32", channels_last=False)

    data = open_dataset(str(pictures), modality="image", options=ReadOptions())
    inputs = Inputs(data.train, model.preprocessor, view=model.view)

    class Behind:
        """What the first stage gives of the pictures."""

        freeze_at = 1

        def __len__(self) -> int:
            return len(inputs)

        def batches(self, order, *, key=()):
            return (
                backbone.run(activations, stop=1) for activations in inputs.batches(order, key=key)
            )

    before = copy(backbone.net)
    count = norm_statistics.reestimate(
        backbone, engine, Behind(), batch_size=8, seed=0, progress=Progress()
    )
    moved = {n for n, t in backbone.net.state_dict().items() if not torch.equal(t, before[n])}
    assert count and moved
    assert all(backbone.stage_of(name) >= 1 for name in moved)
    assert all("running" in name or "num_batches" in name for name in moved)


def test_what_two_states_share_is_the_same_to_the_bit_in_a_blend():
    """A frozen -0 that became 0 would break the proof that frozen tensors did not change."""
    frozen = torch.tensor([-0.0, 0.0, 1e-8, -3.0] * 16)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        mean = blend({"w": frozen}, {"w": frozen.clone()}, share)["w"]
        assert torch.equal(mean.view(torch.int32), frozen.view(torch.int32)), share


def test_a_blend_lies_between():
    one = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    other = {"w": torch.tensor([4.0, 2.0]), "n": torch.tensor(9)}
    mean = blend(one, other, 0.25)
    torch.testing.assert_close(mean["w"], torch.tensor([1.0, 2.0]))
    assert mean["n"] == 3
