"""A fourth kind of data, time series, which a plugin brings: nothing of the core names it."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from zooadapt.cli import root
from zooadapt.data import ReadOptions, dataset_of, inputs_of, modalities, open_dataset, open_inputs
from zooadapt.errors import DataError, PluginError, UsageError
from zooadapt.testing import run
from zooadapt.testing.suite import cases
from zooadapt.zoo import registry

PACKAGE = Path(__file__).parent.parent / "zooadapt"


def walk(label: int, number: int) -> np.ndarray:
    """A noisy wave, slow or fast."""
    rng = np.random.default_rng((label, number))
    time = np.arange(rng.integers(50, 80))
    return np.sin(time * (0.15, 0.9)[label] + rng.uniform(0, 6)) + rng.normal(0, 0.1, len(time))


def row(values: np.ndarray) -> str:
    return " ".join(f"{value:.3f}" for value in values)


@pytest.fixture
def table(tmp_path) -> Path:
    lines = [f"{row(walk(k % 2, k))},{('slow', 'fast')[k % 2]}" for k in range(60)]
    path = tmp_path / "walks.csv"
    path.write_text("\n".join(["series,label", *lines]) + "\n")
    return path


def test_time_series_are_adapted_to(waves, table, tmp_path, capsys):
    out = tmp_path / "model"
    arguments = ["adapt", waves / "walks", table, "--strategy", "probe", "-o", out, "--json"]
    root.main([str(one) for one in arguments], standalone_mode=False)
    result = json.loads(capsys.readouterr().out)
    assert result["test"]["accuracy"] >= 0.9 and result["test"]["n"] == 12
    card = (out / "README.md").read_text()
    assert "pipeline_tag: time-series-classification" in card and 'echo "1 2 3" |' in card
    inputs = [row(walk(0, 99)), row(walk(1, 99))]
    root.main(["predict", str(out), "--json", "--", *inputs], standalone_mode=False)
    labels = [one["label"] for one in json.loads(capsys.readouterr().out)["predictions"]]
    assert labels == ["slow", "fast"]
    root.main(["evaluate", str(out), str(table), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["n"] == 60


def test_rows_of_numbers_are_samples(waves, table, tmp_path):
    data = open_dataset(str(table), modality="series")
    assert np.allclose(data.everything.raw(5), walk(1, 5), atol=1e-3)
    named = tmp_path / "other.csv"
    named.write_text(table.read_text().replace("series,", "values,", 1))
    other = open_dataset(str(named), modality="series", options=ReadOptions(sample_column="values"))
    assert other.fingerprint == data.fingerprint
    for label in ("slow", "fast"):
        (tmp_path / "folders" / label).mkdir(parents=True)
    for k in range(60):
        path = tmp_path / "folders" / ("slow", "fast")[k % 2] / f"{k}.series"
        path.write_text(row(walk(k % 2, k)))
    folders = open_dataset(str(tmp_path / "folders"), modality="series")
    assert sorted(folders.everything.digests) == sorted(data.everything.digests)


def test_series_in_memory_are_samples(waves):
    values = [walk(k % 2, k).astype(np.float32) for k in range(8)]
    data = dataset_of((values, ["slow", "fast"] * 4), modality="series")
    assert all(np.array_equal(data.everything.raw(k), values[k]) for k in range(8))
    split = inputs_of([values[0], "1 2 3"], modality="series")
    assert np.array_equal(split.raw(0), values[0]) and split.raw(1).tolist() == [1, 2, 3]
    assert len(inputs_of(values[0], modality="series")) == 1
    with pytest.raises(DataError, match="'series 1' is of type 'dict' and no series"):
        inputs_of([{}], modality="series")


def test_a_cell_that_is_no_series_is_named(waves, table):
    table.write_text(table.read_text() + "1 2 x,slow\n")
    with pytest.raises(DataError, match=r"series 'walks\.csv:61' holds could not convert"):
        open_dataset(str(table), modality="series")


@pytest.mark.parametrize("name", ["walks", "hum"])
def test_its_families_pass_every_check(waves, name):
    for case in cases(registry.plain(name)):
        outcomes = list(run(case))
        assert [one for one in outcomes if one.status == "fail"] == []
        assert sum(one.status == "pass" for one in outcomes) > 20


def test_no_module_of_the_core_asks_for_a_name():
    names = "|".join(modalities.names())
    asks = re.compile(rf"""modality\s*(?:==|!=|in|not in)\s*\(?["'](?:{names})["']""")
    for path in PACKAGE.rglob("*.py"):
        assert not asks.search(path.read_text()), path


def test_an_unknown_modality_is_named(waves):
    with pytest.raises(UsageError) as caught:
        open_inputs(["x"], modality="smell")
    message = "no modality 'smell' is installed: there are audio, image, text, series"
    assert str(caught.value).startswith(message) and caught.value.remedy


def test_a_family_of_an_unknown_modality_is_listed_as_broken(waves, capsys, monkeypatch):
    monkeypatch.setattr(registry.load_class("walks"), "modality", "smell")
    root.main(["plugins", "list"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "walks: zooadapt-waves 1.5, broken\n    it reads data of kind 'smell'" in out
    assert (
        "try: install the plugin that brings 'smell'" in out
        and "hum: zooadapt-waves 1.5, int" in out
    )


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """Install a modality under this name, whose class has this body."""

    def write(body: str, *, name: str = "broken", by: str = "acme-data", before: str = "") -> None:
        modalities.named.cache_clear()
        site = tmp_path / by
        module = f"{by}_{tmp_path.name}".replace("-", "_")
        info = site / f"{by.replace('-', '_')}-2.7.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(
            f"from zooadapt_waves import Series\n{before}\n"
            f"class Broken(Series):\n    name = {name!r}\n"
            f"{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        )
        (info / "METADATA").write_text(f"Name: {by}\nVersion: 2.7\n")
        (info / "entry_points.txt").write_text(f"[{modalities.GROUP}]\n{name} = {module}:Broken\n")
        monkeypatch.syspath_prepend(site)

    yield write
    modalities.named.cache_clear()


@pytest.mark.parametrize(
    ("body", "message"),
    [("api = 2", "it was written for modality interface 2, this zooadapt has 1"),
     ("noun = None", "it lacks noun"),
     ("name = 'other'", "the class is named 'other'"),
     ("def __init__(self): 1 / 0", "failed in its construction: ZeroDivisionError"),
     ("1 / 0", "failed in its import: ZeroDivisionError")],
)  # fmt: skip
def test_a_modality_that_violates_the_interface_is_refused(waves, brought, body, message):
    brought(body)
    with pytest.raises(PluginError, match=message) as caught:
        modalities.named("broken")
    assert "acme-data 2.7" in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    ("body", "where"),
    [("def decode(self, file, **options): return 1 / 0", "decode\\(\\) of 'text 1'"),
     ("def pieces(self, raw): raise SystemExit(3)", "pieces\\(\\)"),
     ("def pieces(self, raw): return ['x']", "pieces\\(\\)")],
)  # fmt: skip
def test_a_modality_s_errors_name_its_plugin(waves, brought, body, where):
    brought(body)
    split = open_inputs(["1 2 3"], modality="broken")
    with pytest.raises(PluginError, match=f"acme-data 2.7 failed in {where} of its modality"):
        split.digest(0)


def test_a_name_brought_twice_is_refused(waves, brought):
    brought("")
    brought("", by="other-data")
    with pytest.raises(DataError, match="'broken' is brought by acme-data and other-data"):
        modalities.named("broken")


def test_a_built_in_modality_is_never_replaced(waves, brought):
    brought("", name="image")
    assert modalities.named("image").plugin is None
    assert modalities.names().count("image") == 1
