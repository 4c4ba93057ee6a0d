"""Ranking of pretrained models: on the same samples, with ties named and failures as rows."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import zooadapt
from zooadapt.cli import root
from zooadapt.data import ReadOptions
from zooadapt.data.splits import stratified_order
from zooadapt.errors import DataError, NotFoundError, UsageError
from zooadapt.heads import baselines
from zooadapt.runtime import failures
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.workflows.rank import rank
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.zoo import catalogue, registry

BUNDLED = Path(registry.bundled()["digits04"][1])


def command(*arguments: object) -> Any:
    return CliRunner().invoke(root, ["rank", *map(str, arguments)])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts in small and in large letters, some of them twice."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(("abcdefgh", "ABCDEFGH")[k % 2]), 10)) for k in range(80)]
    rows = [(text, ("small", "large")[k % 2]) for k, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("ranked") / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows, *rows[:6]])
    return path


@pytest.fixture(scope="module")
def twins(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A ranking of the bundled model, of the same model in another folder, and of three that fail:
    one that is not there, one of texts, and one whose weights do not fit."""
    folder = tmp_path_factory.mktemp("twins")
    shutil.copytree(BUNDLED, folder / "twin")
    shutil.copytree(BUNDLED, folder / "broken")
    config = json.loads((folder / "broken" / "config.json").read_text())
    config["architecture"] = "resnet18"
    (folder / "broken" / "config.json").write_text(json.dumps(config))
    done = command(pictures, "digits04", folder / "twin", folder / "nowhere", "english",
                   folder / "broken", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_equal_sources_are_tied_and_the_cheapest_chosen(twins: dict[str, Any]) -> None:
    first, second = twins["sources"][:2]
    assert first["tied"] and second["tied"] and len(twins["tied"]) == 2
    assert (first["accuracy"], first["loss"]) == (second["accuracy"], second["loss"])
    assert second["comparison"]["name"] == first["source"]
    assert (second["comparison"]["better"], second["comparison"]["p"]) == (0, 1.0)
    cheapest = min((first, second), key=lambda one: one["seconds"])
    assert twins["choice"] == cheapest["source"]
    assert "digits04 and twin are not significantly different" in twins["conclusion"][0]
    assert f"take {cheapest['name']}, the cheapest" in twins["conclusion"][0]
    assert twins["stopped"] == "all samples" and first["n"] == twins["data"]["samples"]


def test_a_source_that_fails_is_a_row_with_its_reason(twins: dict[str, Any]) -> None:
    measured, failed = twins["sources"][:2], twins["sources"][2:]
    assert [one["error"] for one in measured] == [None, None]
    reasons = {Path(one["source"]).name: one["error"] for one in failed}
    assert reasons.keys() == {"nowhere", "english", "broken"}
    assert reasons["nowhere"]["kind"] == "NotFoundError" and reasons["nowhere"]["remedy"]
    assert "reads text data, and this is image data" in reasons["english"]["message"]
    assert "do not fit the network" in reasons["broken"]["message"]
    assert all(one["accuracy"] is None and not one["tied"] for one in failed)
    assert all(one.keys() == measured[0].keys() for one in failed)


def test_json_holds_what_the_table_shows(twins: dict[str, Any]) -> None:
    assert twins.keys() == {
        "baselines", "best", "budget", "choice", "conclusion", "data", "helps", "notes", "seconds",
        "level", "seed", "sources", "stopped", "tied", "transfers", "worth_trying",
    }  # fmt: skip
    first = twins["sources"][0]
    assert first.keys() == {
        "accuracy", "better_than", "comparison", "depth", "error", "expected", "family",
        "h_score", "input", "interval", "logme", "untrained",
        "license", "loss", "memory_bytes", "n", "name", "neighbours", "parameters", "revision",
        "seconds", "source", "tied",
    }  # fmt: skip
    assert first["family"] == "timm" and first["license"] == "apache-2.0"
    assert first["seconds"] > 0 and first["input"] == "64x64"
    net = zooadapt.load("digits04").module
    weights = sum(p.numel() for p in net.parameters())
    head = sum(p.numel() for p in net.get_classifier().parameters())
    assert first["parameters"] == weights - head
    assert first["memory_bytes"] > 4 * first["parameters"]
    assert twins["helps"] and first["better_than"] == ["majority"]
    assert [one["name"] for one in twins["baselines"]] == ["majority"]
    assert twins["baselines"][0]["accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert first["depth"]["loss"] <= first["loss"]


def test_figures_are_those_of_the_linear_probe(table: Path) -> None:
    """Of `adapt --strategy probe` on the same samples, whose leave-one-out is exact as well."""
    with table.open(newline="") as file:
        texts, labels = map(list, zip(*list(csv.reader(file))[1:81], strict=True))
    data = {"train": (texts[:60], labels[:60]), "test": (texts[60:], labels[60:])}
    (row,) = zooadapt.rank(data, "rnn:english", cache_gb=0)["sources"]
    probe = zooadapt.adapt("rnn:english", data, strategy="probe", cache_gb=0)
    val = probe.report["val"]
    assert (row["accuracy"], row["n"]) == (val["accuracy"], val["n"]) and row["n"] == 60
    assert row["interval"] == pytest.approx(val["interval"])


def test_stored_activations_give_the_same_figures(table: Path) -> None:
    request = RankRequest(data=str(table), sources=("english",))
    fresh, again = (rank(request, Progress()) for _ in range(2))
    uncached = rank(RankRequest(data=str(table), sources=("english",), cache_gb=0), Progress())
    changing = {"seconds", "budget"}
    assert {k: v for k, v in fresh.items() if k not in changing} == {
        k: v for k, v in again.items() if k not in changing
    }
    for key in ("accuracy", "neighbours"):
        assert uncached["sources"][0][key] == fresh["sources"][0][key]
    assert uncached["sources"][0]["loss"] == pytest.approx(fresh["sources"][0]["loss"], rel=1e-3)


def test_repeated_samples_count_once(table: Path) -> None:
    ranked = rank(RankRequest(data=str(table), sources=("english",)), Progress())
    repeated = ranked["data"]["samples"] - ranked["data"]["distinct"]
    assert repeated > 0 and ranked["sources"][0]["n"] == ranked["data"]["distinct"]
    assert any(note.startswith(f"{repeated} of ") for note in ranked["notes"])


def test_without_sources_those_of_the_modality_are_ranked(
    table: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path))  # nothing is downloaded there
    for place, names in ((table, ["english"]), (pictures, ["digits04"])):
        done = command(place, "--json")
        assert done.exit_code == 0, done.output
        assert [one["source"] for one in json.loads(done.stdout)["sources"]] == names
    assert [row["source"] for row in catalogue.on_hand()] == ["digits04", "english"]


def test_features_no_better_than_a_baseline_do_not_help(tmp_path: Path) -> None:
    """Labels by chance: nothing predicts them."""
    rng = np.random.default_rng(0)
    rows = [("".join(rng.choice(list("abcdef"), 8)), "xy"[rng.integers(2)]) for _ in range(60)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    done = command(tmp_path / "t.csv", "english")
    assert done.exit_code == 0, done.output
    assert "no source here helps: none is significantly better than" in done.stdout
    assert "tfidf" in done.stdout and "majority" in done.stdout


def test_a_source_that_learned_the_data_is_no_candidate(table: Path, tmp_path: Path) -> None:
    zooadapt.adapt("rnn:english", table, out=tmp_path / "learned", strategy="probe")
    request = RankRequest(data=str(table), sources=(str(tmp_path / "learned"), "english"))
    ranked, failed = rank(request, Progress())["sources"]
    assert ranked["source"] == "english" and ranked["error"] is None
    assert "has learned" in failed["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no/such/folder"], 66, "no/such/folder"),
        (["{data}", "./nowhere"], 66, "'./nowhere' is neither"),
        (["{data}", "./nowhere", "./nothing"], 66, "no source can be ranked: ./nowhere"),
        (["{data}", "digits04"], 65, ""),
        (["{data}", "english", "--input-size", "32"], 2, "takes no other input size"),
        (["{data}", "--budget", "soon"], 2, "is no time"),
        (["{data}", "--budget", "0"], 2, "--budget"),
        ([], 2, "Missing argument 'DATA'"),
    ],
)
def test_unusable_arguments_are_refused(
    table: Path, arguments: list[str], code: int, message: str
) -> None:
    done = command(*[word.format(data=table) for word in arguments])
    expected = failures.expected(done.exception) if done.exception else None
    assert (expected.code if expected else done.exit_code) == code
    assert message in (str(expected) if expected else done.output)


def test_data_of_no_modality_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing to learn here")
    with pytest.raises(DataError, match="cannot be read: as .* data, .*; as .* data, ") as caught:
        rank(RankRequest(data=str(tmp_path)), Progress())
    assert caught.value.remedy


def test_data_that_no_modality_can_read_has_one_reason() -> None:
    with pytest.raises(DataError, match=r"^there are 2 samples and 1 labels"):
        zooadapt.rank((["a b", "c d"], ["x"]))


def test_numbers_are_no_classes_to_compare_sources_by(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = [("a" * (1 + k % 9), f"{k / 7:.2f}") for k in range(40)]
        csv.writer(file).writerows([("text", "label"), *rows])
    with pytest.raises(DataError, match="data for regression, and sources are compared") as caught:
        rank(
            RankRequest(
                data=str(tmp_path / "t.csv"),
                sources=("english",),
                reading=ReadOptions(task="regression"),
            ),
            Progress(),
        )
    assert "zooadapt adapt SOURCE" in caught.value.remedy


def test_groups_are_left_out_together(tmp_path: Path) -> None:
    """Texts of a group are nearly equal, and nothing but the group predicts their label."""
    rng = np.random.default_rng(1)
    rows = []
    for group in range(32):
        word = "".join(rng.choice(list("abcdefghijkl"), 12))
        rows += [(f"{k} {word}", "xy"[group % 2], f"g{group}") for k in range(5)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "who"), *rows])
    plain, grouped = (
        json.loads(command(tmp_path / "t.csv", "english", "--json", *more).stdout)
        for more in ([], ["--group-column", "who"])
    )
    (before,), (after,) = plain["sources"], grouped["sources"]
    assert before["accuracy"] > 0.95 and before["neighbours"] > 0.9
    assert after["accuracy"] < 0.7 and after["neighbours"] < 0.7
    assert plain["baselines"][1]["accuracy"] > 0.95 and grouped["baselines"][1]["accuracy"] < 0.7
    assert before["better_than"] == ["majority"]
    assert after["better_than"] == [] and not grouped["helps"], "130 samples are 26 groups"


def test_python_speaks_of_parameters(table: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'budget'"):
        zooadapt.rank(table, budge=3)
    with pytest.raises(NotFoundError):
        zooadapt.rank(table, ["./nowhere"])


def test_every_beginning_of_the_order_is_stratified() -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    order = stratified_order(labels, 3)
    assert sorted(order.tolist()) == list(range(1000))
    for size in (10, 64, 256, 500):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.7, 0.2, 0.1])).max() <= 2
    assert not np.array_equal(order, stratified_order(labels, 4))


def test_neighbours_are_other_samples_of_other_groups() -> None:
    features = torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [0.1, 0.99], [1.0, 0.05]])
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert baselines.nearest_others(features, labels, of_classes("abc"), k=1).tolist() == [
        2,
        2,
        1,
        1,
        0,
    ]
    together = np.array([0, 1, 2, 2, 0])
    grouped = baselines.nearest_others(features, labels, of_classes("abc"), k=1, groups=together)
    assert grouped.tolist() == [0, 2, 0, 0, 0]
    alone = baselines.nearest_others(
        features[:2], labels[2:4] * 0 + 1, of_classes("ab"), groups=np.zeros(2, int)
    )
    assert alone.tolist() == [0, 0], "no other group votes"
