"""Sources measured in several processes and on a Ray cluster: the same ranking as in one."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import zooadapt
from zooadapt.errors import ResourceError, UnavailableError, UsageError
from zooadapt.workflows import measuring
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.zoo import registry

CHANGING = {"seconds", "memory_bytes"}
"""Figures of the machine and not of the data."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two that can be measured, and one that fails in the process that builds it."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("twin", "broken"):
        shutil.copytree(registry.bundled()["digits04"][1], folder / name)
    config = json.loads((folder / "broken" / "config.json").read_text())
    (folder / "broken" / "config.json").write_text(
        json.dumps(config | {"architecture": "resnet18"})
    )
    return ["digits04", str(folder / "twin"), str(folder / "broken")]


def figures(ranking: dict[str, Any]) -> list[Any]:
    """Rows of the sources, by name, their figures to three decimals."""
    rows = [{k: v for k, v in row.items() if k not in CHANGING} for row in ranking["sources"]]
    text = json.dumps(sorted(rows, key=lambda row: row["source"]))
    rounded: list[Any] = json.loads(text, parse_float=lambda number: round(float(number), 3))
    return rounded


@pytest.fixture(scope="module")
def alone(pictures: Path, sources: list[str]) -> dict[str, Any]:
    return zooadapt.rank(pictures, sources, cache_gb=0)


def test_processes_give_the_same_ranking(
    pictures: Path, sources: list[str], alone: dict[str, Any]
) -> None:
    several = zooadapt.rank(pictures, sources, cache_gb=0, workers=2)
    assert figures(several) == figures(alone)
    assert several["tied"] == alone["tied"] and several["baselines"] == alone["baselines"]
    errors = [row["error"] for row in several["sources"]]
    assert errors[:2] == [None, None] and "do not fit the network" in errors[2]["message"]


def test_a_cluster_gives_the_same_ranking(
    pictures: Path, sources: list[str], alone: dict[str, Any]
) -> None:
    """A local Ray cluster, two sources at a time."""
    pytest.importorskip("ray", reason="Ray is not installed")
    several = zooadapt.rank(pictures, sources, cache_gb=0, workers=2, ray="local")
    assert figures(several) == figures(alone)
    assert several["tied"] == alone["tied"]


def test_a_cluster_that_does_not_answer_is_named(pictures: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(UnavailableError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        zooadapt.rank(pictures, ["digits04"], ray="127.0.0.1:1")


def test_without_ray_its_option_says_how_to_install_it(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs Ray, which cannot be imported") as caught:
        zooadapt.rank(pictures, ["digits04"], ray="127.0.0.1:1")
    assert caught.value.code == 2 and caught.value.remedy == "pip install 'zooadapt[ray]'"


def test_a_run_of_several_processes_starts_no_more(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError, match="this run was launched in several"):
        zooadapt.rank(pictures, ["digits04"], workers=2)


def test_a_process_that_is_killed_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_opened_outcome", signal.raise_signal)
    request = RankRequest(data="", workers=2)
    with pytest.raises(ResourceError, match="ended from outside") as caught:
        measuring._in_processes([signal.SIGKILL, signal.SIGKILL], request)  # type: ignore[list-item]
    assert caught.value.remedy == "--workers 1"
