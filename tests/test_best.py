"""`adapt best`: a ranking chooses the source, and the run, its report and its card say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zooadapt
from zooadapt.cli import root
from zooadapt.errors import DataError, UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import best
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.demo import write_digits
from zooadapt.workflows.inputs import open_inputs
from zooadapt.zoo import registry

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits 5 to 9, ten of each: the bundled model learned 0 to 4."""
    return write_digits(tmp_path_factory.mktemp("digits"))[1]


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled model, one whose features are the same for all images, and one that fails."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("candidates")
    for name in ("blank", "broken"):
        shutil.copytree(registry.bundled()["digits04"][1], folder / name)
    state = load_file(folder / "blank" / WEIGHTS)
    zeros = {k: v * 0 if v.ndim > 1 else v for k, v in state.items()}
    save_file(zeros, folder / "blank" / WEIGHTS, {"format": "pt"})
    config = json.loads((folder / "broken" / "config.json").read_text())
    (folder / "broken" / "config.json").write_text(
        json.dumps(config | {"architecture": "resnet18"})
    )
    return f"{folder / 'blank'}, digits04,{folder / 'broken'}"


@pytest.fixture(scope="module")
def adapted(
    digits: Path, candidates: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("best") / "model"
    done = CliRunner().invoke(
        root,
        ["adapt", "best", str(digits), "--candidates", candidates, "-o", str(out), "--strategy",
         "probe", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), out


def test_the_winner_of_the_ranking_is_adapted(
    digits: Path, tmp_path: Path, adapted: tuple[dict[str, Any], Path]
) -> None:
    report, out = adapted
    assert report["source"]["location"] == "digits04"
    named = zooadapt.adapt("digits04", digits, strategy="probe", out=tmp_path / "named")
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "named" / WEIGHTS).read_bytes()
    assert named.report["chosen_from"] is None


def test_report_and_card_say_what_it_was_chosen_from(
    adapted: tuple[dict[str, Any], Path],
) -> None:
    report, out = adapted
    rows = {one["source"]: one for one in report["chosen_from"]["sources"]}
    assert rows.keys() == {"digits04", "blank", "broken"}
    assert rows["digits04"]["chosen"] and not rows["blank"]["chosen"]
    assert rows["digits04"]["accuracy"] > rows["blank"]["accuracy"]
    assert rows["broken"]["failed"] == "DataError" and rows["broken"]["accuracy"] is None
    assert json.loads((out / "report.json").read_text())["chosen_from"] == report["chosen_from"]
    assert report["seconds"]["rank"] > 0
    card = (out / "README.md").read_text().replace("\\", "")
    line = next(line for line in card.splitlines() if line.startswith("| source | chosen by"))
    assert f"digits04 (chosen) {rows['digits04']['accuracy']:.3f}" in line
    assert f"blank {rows['blank']['accuracy']:.3f}; 1 failed" in line


def test_what_is_on_the_machine_is_ranked_without_candidates(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path))  # nothing is downloaded there
    preview = zooadapt.plan("best", pictures, strategy="probe")
    assert preview["plan"]["family"] == "timm"


@pytest.mark.parametrize(("budget", "strategy", "share"), [
    (50.0, "probe", 10.0), (None, "auto", 120.0), (None, "probe", 300.0), (9000.0, "auto", 300.0),
])  # fmt: skip
def test_the_ranking_takes_a_share_of_the_budget(
    pictures: Path, tmp_path: Path, budget: float | None, strategy: str, share: float
) -> None:
    request = Request(
        source="best", data=str(pictures), out=tmp_path / "x", budget=budget, strategy=strategy,
        candidates="digits04",
    )  # fmt: skip
    opened = open_inputs(request, Progress())
    assert opened.ranking is not None and opened.ranking["budget"] == share
    seconds = opened.clock.seconds()
    assert 0 < seconds["rank"] <= seconds["total"], "training has what is left of the budget"


def test_few_labels_are_all_that_the_ranking_uses(pictures: Path, tmp_path: Path) -> None:
    request = Request(
        source="best", data=str(pictures), out=tmp_path / "x", labels_per_class=4,
        candidates="digits04", strategy="probe",
    )  # fmt: skip
    ranking = open_inputs(request, Progress()).ranking
    assert ranking is not None and ranking["sources"][0]["n"] == 12


class Stops(Progress):
    """Interrupts in the second epoch."""

    def say(self, line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt


def test_a_resumed_run_ranks_nothing_again(
    digits: Path, tmp_path: Path, candidates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "data": str(digits), "strategy": "full", "epochs": 3, "precision": "fp32",
        "batch_size": 8, "checkpoint_seconds": 0.0, "deterministic_plan": True,
    }  # fmt: skip
    whole = adapt(Request(source="digits04", out=tmp_path / "whole", **options), Progress())
    request = Request(source="best", out=tmp_path / "cut", candidates=candidates, **options)
    with pytest.raises(KeyboardInterrupt):
        adapt(request, Stops())
    monkeypatch.delattr(best, "rank_candidates")
    resumed = Request(source="best", out=tmp_path / "cut", resume=True, **options)
    report = adapt(resumed, Progress()).report
    assert report["epochs"] == whole.report["epochs"]
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert [one["source"] for one in report["chosen_from"]["sources"] if one["chosen"]] == [
        "digits04"
    ]


def test_a_run_of_a_named_source_is_not_resumed_as_best(pictures: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "data": str(pictures), "out": tmp_path / "cut", "strategy": "full", "epochs": 3,
        "checkpoint_seconds": 0.0,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        adapt(Request(source="digits04", **options), Stops())
    with pytest.raises(DataError, match="had a source that was named"):
        adapt(Request(source="best", resume=True, **options), Progress())


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("best", {"from_scratch": True}, "discards them"),
        ("digits04", {"candidates": "digits04"}, "this run names its source"),
    ],
)
def test_options_that_contradict_a_ranking_are_refused(
    pictures: Path, tmp_path: Path, source: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        zooadapt.adapt(source, pictures, out=tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_that_name_is_itself(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(registry.bundled()["digits04"][1], tmp_path / "best")
    monkeypatch.chdir(tmp_path)
    model = zooadapt.adapt("best", pictures.absolute(), strategy="probe")
    assert model.report["source"]["location"] == "best" and model.report["chosen_from"] is None
