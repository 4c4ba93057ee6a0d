"""Sources compared in rounds: what is significant, what is tied, and what more samples change."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zooadapt.runtime.progress import Progress
from zooadapt.tasks import metrics
from zooadapt.workflows import measuring
from zooadapt.workflows import rank as workflow
from zooadapt.workflows.demo import write_digits
from zooadapt.workflows.rank import rank
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.workflows.ranking import BaselineScore, Round, level_of
from zooadapt.workflows.source_measurement import Cost, HeadScore, Measurement
from zooadapt.zoo import registry


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts in small and in large letters."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(("abcdefgh", "ABCDEFGH")[k % 2]), 10)) for k in range(100)]
    path = tmp_path_factory.mktemp("ranked") / "t.csv"
    with path.open("w", newline="") as file:
        rows = [(text, ("small", "large")[k % 2]) for k, text in enumerate(texts)]
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


class Lines(Progress):
    """The lines that a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def measurement(right: np.ndarray, *, seconds: float = 1.0, loss: float = 1.0) -> Measurement:
    head = HeadScore(right=right, loss=loss)
    return Measurement(
        head=head, stage="end", stage_head=head, neighbours=0.5, parameters=1, input="", notes=(),
        log_evidence=0.0, h_score=0.0, untrained=None,
        cost=Cost(seconds=seconds, memory_bytes=1),
    )  # fmt: skip


def mask(n: int, right: int) -> np.ndarray:
    return np.arange(n) < right


def round_of(n: int, right: Mapping[str, int], *, baseline: int = 0) -> Round:
    score = BaselineScore(
        name="majority", title="", how="", rows=np.arange(n), right=mask(n, baseline)
    )
    cost = {name: 1.0 + k for k, name in enumerate(right)}
    return Round(
        n=n,
        measurements={
            name: measurement(mask(n, count), seconds=cost[name]) for name, count in right.items()
        },
        baselines=(score,),
    )


def test_significantly_worse_sources_are_not_tied() -> None:
    """Five samples that one alone has right are p .0625 by the sign test; six are p .031."""
    one = round_of(100, {"cheap": 85, "worse": 84, "best": 90})
    assert one.order == ("best", "cheap", "worse")
    assert one.tied == ("best", "cheap")
    p = {name: one.comparisons[name].p for name in ("cheap", "worse")}
    assert p == pytest.approx({"cheap": 0.0625, "worse": 0.03125})
    assert not one.decided and round_of(100, {"best": 90, "worse": 84}).decided


def test_a_group_counts_once_in_a_comparison() -> None:
    """Ten samples in two groups are two differences, which decide nothing."""
    one = round_of(100, {"best": 90, "other": 80})
    assert one.tied == ("best",)
    together = replace(one, groups=np.arange(100) // 5)
    comparison = together.comparisons["other"]
    assert (comparison.n, comparison.better, comparison.worse, comparison.p) == (20, 2, 0, 0.5)
    assert together.tied == ("best", "other")


def test_a_baseline_as_good_as_the_best_leaves_it_undecided() -> None:
    assert not round_of(100, {"best": 90}, baseline=86).decided
    assert not round_of(100, {"best": 90}, baseline=86).helps("best")
    better = round_of(100, {"best": 80}, baseline=90)
    assert better.decided and not better.helps("best") and better.better_than("best") == ()
    assert round_of(100, {"best": 90}, baseline=60).better_than("best") == ("majority",)


def test_the_sample_grows_while_sources_are_tied(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 16 samples to 32 and to all, with the tied sources alone; a budget that is over ends
    that."""
    source = Path(registry.bundled()["english"][1])
    shutil.copytree(source, tmp_path / "twin")
    monkeypatch.setattr(workflow, "SIZES", (16, 32, 1000))
    sources = ("english", str(tmp_path / "twin"))
    display = Lines()
    grown = rank(RankRequest(data=str(table), sources=sources), display)
    assert grown["sources"][0]["n"] == grown["data"]["distinct"] > 32
    assert grown["stopped"] == "all samples"
    brief = rank(RankRequest(data=str(table), sources=sources, budget=1e-9), Progress())
    assert brief["stopped"] == "the budget" and brief["sources"][0]["n"] == 16
    assert brief["sources"][1]["error"]["message"] == "the budget ended before it was measured"
    assert "do not decide: measuring 2 sources on 32" in display.lines[0]


def test_the_choice_is_the_cheapest_within_a_standard_error() -> None:
    """Three samples ahead are within a standard error where 10 and 7 differ; four are not where 4
    and none do."""
    best = np.repeat([True, False], [90, 10])
    close, behind = best.copy(), best.copy()
    close[:10], close[90:97] = False, True
    behind[:4] = False
    measurements = {
        "behind": measurement(behind, seconds=1.0),
        "close": measurement(close, seconds=2.0),
        "best": measurement(best, seconds=3.0),
    }
    one = Round(n=100, measurements=measurements, baselines=())
    assert one.tied == ("best", "close", "behind")
    assert [one.comparisons[name].p for name in one.tied[1:]] == pytest.approx(
        [0.6291, 0.125], abs=1e-4
    )
    assert one.close == ("best", "close") and one.choice == "close"


def test_the_best_source_is_rarely_ruled_out_in_any_round() -> None:
    """Six sources that are equally good, on 64, 256 and 1,024 samples: with 5 % in each test the
    first one was ruled out in every fifth ranking."""
    rng = np.random.default_rng(0)
    sizes, names = (64, 256, 1024), [f"source{k}" for k in range(6)]

    def ruled_out(right: np.ndarray, level: float) -> bool:
        rounds = [
            Round(
                n=n,
                measurements={
                    name: measurement(mask[:n]) for name, mask in zip(names, right, strict=True)
                },
                baselines=(),
                level=level,
            )
            for n in sizes
        ]
        return any(names[0] not in one.tied for one in rounds)

    drawn = [rng.random((6, sizes[-1])) < 0.7 for _ in range(200)]
    share = {
        level: np.mean([ruled_out(right, level) for right in drawn])
        for level in (metrics.LEVEL, level_of(6, 3))
    }
    assert share[metrics.LEVEL] > 0.15
    assert share[level_of(6, 3)] <= 0.05


Measure = Callable[..., Measurement]


@pytest.fixture
def late_bloomer(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A ranking of three copies of a source, whose figures are given: `wide` is worse than the
    others on 16 samples and as good as `first`, or better, on more; `second` falls behind."""
    source = Path(registry.bundled()["english"][1])
    for name in ("first", "second", "wide"):
        shutil.copytree(source, tmp_path / name)
    shares = {
        "first": {16: 1.0, 64: 0.9, 80: 0.9},
        "second": {16: 1.0, 64: 0.4, 80: 0.4},
        "wide": {16: 0.2, 64: 0.95, 80: 0.95},
    }

    def figures(source: Any, sample: Any, *others: Any) -> Measurement:
        n = len(sample)
        return measurement(mask(n, round(n * shares[source.name][n])))

    monkeypatch.setattr(measuring, "measure", figures)
    monkeypatch.setattr(workflow, "SIZES", (16, 64, 1000))
    places = tuple(str(tmp_path / name) for name in shares)
    return rank(RankRequest(data=str(table), sources=places), Progress())


def test_sources_ruled_out_early_are_measured_on_the_last_sample(
    late_bloomer: dict[str, Any],
) -> None:
    rows = {row["name"]: row for row in late_bloomer["sources"]}
    sizes = {name: row["n"] for name, row in rows.items()}
    assert sizes == {"wide": 80, "first": 80, "second": 80}
    assert Path(late_bloomer["best"]).name == "wide"
    assert [Path(name).name for name in late_bloomer["tied"]] == ["wide", "first"]
    assert rows["second"]["comparison"]["p"] < late_bloomer["level"] == 0.05 / 9
    assert not any("ruled out" in line for line in late_bloomer["conclusion"])


def test_sources_that_the_budget_leaves_on_fewer_samples_are_named(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of `wide` over the larger sample takes longer than the budget."""
    source = Path(registry.bundled()["english"][1])
    for name in ("first", "second", "wide"):
        shutil.copytree(source, tmp_path / name)

    def figures(source: Any, sample: Any, *others: Any) -> Measurement:
        n, seconds = len(sample), {"wide": 100.0}.get(source.name, 1e-4)
        share = {"first": 0.9, "second": 0.9 if n == 16 else 0.4, "wide": 0.0}[source.name]
        return measurement(mask(n, round(n * share)), seconds=seconds)

    monkeypatch.setattr(measuring, "measure", figures)
    monkeypatch.setattr(workflow, "SIZES", (16, 1000))
    places = tuple(str(tmp_path / name) for name in ("first", "second", "wide"))
    ranking = rank(RankRequest(data=str(table), sources=places), Progress())
    assert [row["n"] for row in ranking["sources"]] == [80, 80, 16]
    assert ranking["conclusion"][1] == (
        "wide was ruled out by 16 samples and not measured on 80, where the order may be another "
        "one"
    )


class Interrupts(Progress):
    """Interrupts where a source is built."""

    def __init__(self, name: str) -> None:
        self._name = name

    def doing(self, what: str, *, shows: bool = False) -> None:
        if what == f"building {self._name}":
            raise KeyboardInterrupt


def test_an_interrupted_ranking_ends_in_the_same_table(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first source is read from the cache, the second one is measured."""
    shutil.copytree(registry.bundled()["english"][1], tmp_path / "twin")
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    request = RankRequest(data=str(table), sources=("english", str(tmp_path / "twin")))
    whole = rank(replace(request, cache_gb=0.0), Progress())
    with pytest.raises(KeyboardInterrupt):
        rank(request, Interrupts("twin"))
    assert any((tmp_path / "cache").rglob("*.safetensors"))
    again = rank(request, Progress())

    def rounded(row: dict[str, Any]) -> dict[str, Any]:
        figures = ("accuracy", "interval", "neighbours", "n", "better_than", "untrained", "error")
        return {key: row[key] for key in figures} | {"loss": round(row["loss"], 3)}

    by_name = [{row["name"]: rounded(row) for row in one["sources"]} for one in (whole, again)]
    assert by_name[0] == by_name[1] and again["tied"] == whole["tied"]


# Nothing transfers


def test_a_source_is_compared_with_its_network_untrained(tmp_path: Path) -> None:
    """What was learned from the digits 0 to 4 helps with 5 to 9."""
    _, target = write_digits(tmp_path)
    request = RankRequest(data=str(target / "test"), sources=("digits04",))
    ranking = rank(request, Progress())
    (row,) = ranking["sources"]
    untrained = row["untrained"]
    assert row["accuracy"] > untrained["accuracy"] and untrained["n"] == 256
    assert untrained["better"] - untrained["worse"] == round(
        256 * (row["accuracy"] - untrained["accuracy"])
    )
    assert untrained["gains"] and ranking["transfers"] and ranking["worth_trying"] == []


def test_sources_that_gain_nothing_are_named_with_what_is_worth_trying(tmp_path: Path) -> None:
    """Labels by chance: nothing predicts them."""
    rng = np.random.default_rng(0)
    rows = [("".join(rng.choice(list("abcdef"), 8)), "xy"[rng.integers(2)]) for _ in range(60)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    ranking = rank(RankRequest(data=str(tmp_path / "t.csv"), sources=("english",)), Progress())
    assert not ranking["transfers"] and not ranking["sources"][0]["untrained"]["gains"]
    assert ranking["conclusion"][0].startswith(
        "english is not significantly better than the same network with random weights (48 samples)"
    )
    names = [one["source"] for one in ranking["worth_trying"]]
    assert "sentence-transformers/all-MiniLM-L6-v2" in names and len(names) == 3
    assert not any(name.startswith("timm/") for name in names), "these read images"
    assert ranking["conclusion"][-1].startswith("worth trying: ")
    assert all(name in ranking["conclusion"][-1] for name in names)


def test_features_that_are_right_about_all_need_nothing_else(table: Path) -> None:
    ranking = rank(RankRequest(data=str(table), sources=("english",)), Progress())
    assert ranking["sources"][0]["accuracy"] == 1.0
    assert not ranking["transfers"] and ranking["worth_trying"] == []
