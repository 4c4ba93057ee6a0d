"""The samples on the page: which ones, what the network sees of them, and where answers come
from."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zooadapt
from zooadapt.backbone import relevance
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import build
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.data import open_dataset
from zooadapt.errors import DataError
from zooadapt.family import Stage
from zooadapt.family.modality import Clip, View
from zooadapt.heads import answers
from zooadapt.heads.answers import Answers
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import sample_pictures
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.html_report import Example, Examples, page
from zooadapt.zoo.sources import open_source

from .pages import Page, check


class Corner(nn.Module):
    """Says class 1 if its map of 6 x 6 places is bright in one corner, by its mean; the mean of
    tokens in a square, for transformers."""

    def __init__(self, tokens: bool) -> None:
        super().__init__()
        self.tokens = tokens
        self.low = nn.Conv2d(3, 4, 4, stride=4)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.low.weight.fill_(1 / 48)
            self.low.bias.zero_()
            self.head.weight.copy_(torch.tensor([[-9.0] * 4, [9.0] * 4]))
            self.head.bias.copy_(torch.tensor([1.0, -1.0]))

    def stages(self) -> list[Stage]:
        def low(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            maps = self.low(x["x"]).relu()
            if not self.tokens:
                return {"maps": maps}
            rows = maps.flatten(2).transpose(1, 2)
            return {"tokens": torch.cat([torch.zeros_like(rows[:, :1]), rows], 1)}

        def high(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            means = x["tokens"].mean(1) if self.tokens else x["maps"].mean((2, 3))
            return {"features": means}

        return [Stage(name="low", run=low, owns=("low",)), Stage(name="high", run=high, owns=())]


class Toy:
    name = "toy"

    def stages(self, net: Corner) -> list[Stage]:
        return net.stages()

    def head(self, net: Corner) -> str:
        return "head"


def corners() -> torch.Tensor:
    """Images that are bright in another corner each."""
    images = torch.zeros(4, 3, 24, 24)
    for k, (down, across) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16)]):
        images[k, :, down : down + 8, across : across + 8] = 2.0
    return images


@pytest.mark.parametrize("tokens", [False, True])
def test_the_relevant_places_are_those_that_decide(tokens: bool) -> None:
    backbone = StagedBackbone(Toy(), Corner(tokens))
    engine, inputs = Engine(precision="fp32", channels_last=False), {"x": corners()}
    computed = relevance.places_of(backbone, engine, inputs)
    assert computed is not None
    assert computed.stage == "low"
    assert computed.cells.shape == (4, 6, 6)
    assert computed.answer.tolist() == [1, 1, 1, 1]
    bright = nn.functional.avg_pool2d(corners().mean(1), 4) > 0
    assert torch.equal(computed.cells > 0.5, bright)
    without = relevance.deletion(backbone, engine, inputs, computed)
    assert (without.marked < 0.9).all()
    assert (without.others > 0.99).all()
    assert all(p.grad is None for p in backbone.net.parameters())


def test_a_network_without_places_says_so() -> None:
    net = Corner(tokens=False)
    with torch.no_grad():
        net.head.weight.zero_()
    inputs = {"x": corners()}
    engine = Engine(precision="fp32", channels_last=False)
    assert relevance.places_of(StagedBackbone(Toy(), net), engine, inputs) is None


def drawn(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), n)
    return probabilities, rng.integers(classes, size=n)


def test_errors_come_by_confidence_and_right_answers_in_steps() -> None:
    probabilities, labels = drawn(200, 4)
    rows = np.arange(200) % 5 != 0
    given = answers.of_probabilities(probabilities, labels, rows, ("test",))
    assert given.position.tolist() == np.flatnonzero(rows).tolist()
    errors = given.errors(12)
    assert (given.predicted[errors] != given.label[errors]).all()
    wrong = [float(p.max()) for p, label, row in zip(probabilities, labels, rows, strict=True)
             if row and p.argmax() != label]  # fmt: skip
    assert given.confidence[errors].tolist() == sorted(wrong, reverse=True)[:12]
    right = given.right(6)
    confidences = given.confidence[right].tolist()
    assert len(right) == 6
    assert confidences == sorted(confidences, reverse=True)
    correct = given.confidence[given.predicted == given.label]
    assert (confidences[0], confidences[-1]) == (correct.max(), correct.min())
    assert len(given.right(10**6)) == len(correct)


@pytest.fixture
def digits(pictures: Path) -> dict[str, Any]:
    data = open_dataset(str(pictures), modality="image")
    model = build(open_source("digits04"), task=data.task)
    nn.init.normal_(model.backbone.head.weight, generator=torch.Generator().manual_seed(0))
    engine = Engine(precision="fp32", channels_last=False)
    engine.place(model.backbone)
    n = len(data.test)
    return {
        "model": model, "engine": engine, "splits": {"test": data.test},
        "answers": Answers(parts=("test",), position=np.arange(n), label=data.test.labels,
                           predicted=(data.test.labels + np.arange(n) % 2) % 3,
                           confidence=np.linspace(0.9, 0.5, n)), "issues": None,
    }  # fmt: skip


def test_pictures_are_what_the_network_sees(digits: dict[str, Any]) -> None:
    shown, test = sample_pictures.collect(**digits, passes=1000)
    assert test is not None
    n = len(digits["answers"].label)
    assert test["images"] == n
    assert test["more"] + test["less"] <= n
    assert 0 < test["p"] <= 1
    assert len(shown.errors) == n // 2
    for each in (*shown.errors, *shown.right):
        assert each.picture is not None
        assert each.picture.relevance is not None
    first = shown.errors[0]
    position = digits["answers"].position[1]
    raw = digits["splits"]["test"].raw(int(position))
    tensor = digits["model"].preprocessor(raw, rng=None)
    (pixels,) = tensor.values()
    seen = np.asarray(Image.open(io.BytesIO(first.picture.content)).convert("L")).astype(float)
    network = pixels.mean(0).numpy()
    assert seen.shape == network.shape
    assert np.corrcoef(seen.ravel(), network.ravel())[0, 1] > 0.999


def test_a_costly_network_is_spared(
    digits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relevance, "operations", lambda *arguments: 1e12)
    shown, test = sample_pictures.collect(**digits, passes=100)
    assert test == {"images": 0, "reason": "it would take long beside the rest of the run"}
    assert all(each.picture is not None for each in shown.errors)
    _, test = sample_pictures.collect(**digits, passes=10_000_000)
    assert test is not None
    assert test["images"] > 0


def test_a_sample_that_is_gone_leaves_a_page_without_its_picture(
    digits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    split, raw = digits["splits"]["test"], digits["splits"]["test"].viewed
    gone = int(digits["answers"].position[1])

    def some(index: int, view: View) -> Any:
        if index == gone:
            raise DataError("it is gone", thing="1.png", remedy="bring it back")
        return raw(index, view)

    monkeypatch.setattr(split, "viewed", some)
    shown, test = sample_pictures.collect(**digits, passes=1000)
    assert shown.errors[0].picture is None
    assert shown.errors[1].picture is not None
    assert test["images"] == len(digits["answers"].label) - 1


def test_data_that_is_removed_during_a_run_costs_no_export(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures, tmp_path / "data")
    before = sample_pictures.collect

    def later(*arguments: Any, **options: Any) -> Any:
        shutil.rmtree(tmp_path / "data")
        return before(*arguments, **options)

    monkeypatch.setattr(sample_pictures, "collect", later)
    request = Request(source="digits04", data=str(tmp_path / "data"), out=tmp_path / "out",
                      strategy="probe")  # fmt: skip
    report = adapt(request, Progress()).report
    assert report["relevance"] is None
    tree = Page((tmp_path / "out/report.html").read_text("utf-8"))
    check(tree)
    assert not tree.root.all("img")
    assert "not shown" in tree.root.text


def test_recordings_can_be_heard() -> None:
    soundfile = pytest.importorskip("soundfile")
    time = np.arange(5 * 48_000) / 48_000
    tone = Clip(samples=(0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate=48_000)
    content = sample_pictures.sound_of(tone)
    assert content is not None
    assert len(content) < 30_000
    heard, rate = soundfile.read(io.BytesIO(content))
    assert abs(len(heard) / rate - 3) < 0.15
    spectrum = np.abs(np.fft.rfft(heard[: rate * 2]))
    assert abs(spectrum.argmax() / 2 - 440) < 2
    one = Example(name="a.wav", label="a", answer="b", score="probability 0.9", sound=content)
    tree = Page(page({"test": None}, Examples(errors=(one,))).decode())
    check(tree)
    assert len(tree.root.all("audio")) == 1


def test_numbers_have_a_page_that_speaks_of_their_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(80)]
    values = [text.count("a") + 0.1 * rng.normal() for text in texts]
    model = zooadapt.adapt(
        "rnn:english", (texts, values), task="regression", strategy="lp-ft", epochs=2,
        out=tmp_path / "out",
    )  # fmt: skip
    tree = Page((tmp_path / "out/report.html").read_text("utf-8"))
    check(tree)
    assert f"R2 {model.report['test']['r2']:.3f}" in tree.root.text
    assert "Validation R2 by epoch" in tree.root.text
    assert not [each for each in tree.root.all("table") if "accuracy" in each.text]


def test_texts_are_shown_as_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = {"small": "abcdefgh", "large": "ABCDEFGH"}
    rows = [("".join(rng.choice(list(kinds[name]), 12)) + " <b>&amp;", name)
            for name in ("small", "large") for _ in range(30)]  # fmt: skip
    rows[3], rows[40] = (rows[3][0], "large"), (rows[40][0] + "x" * 900, "small")
    table = tmp_path / "texts.csv"
    table.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    request = Request(source="rnn:english", data=str(table), out=tmp_path / "out",
                      strategy="probe")  # fmt: skip
    report = adapt(request, Progress()).report
    assert report["modality"] == "text"
    assert report["relevance"] is None
    tree = Page((tmp_path / "out/report.html").read_text("utf-8"))
    check(tree)
    quotes = [each.text for each in tree.root.all("blockquote")]
    assert quotes
    assert all(quote.endswith(("<b>&amp;", "…")) for quote in quotes)
    assert max(map(len, quotes)) <= 302
    assert {text for text, _ in rows} >= {quote for quote in quotes if quote[-1] != "…"}
    assert quotes[0] not in json.dumps(report)
