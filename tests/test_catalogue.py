"""The models that `zooadapt models` lists, and the cache that `zooadapt cache` lists and clears."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import timm
import zooadapt_timm
from timm.models import get_pretrained_cfg

from zooadapt.runtime import locks
from zooadapt.zoo.catalogue import models
from zooadapt.zoo.stored import clear_features, stored


def test_recommended_models_come_first_then_bundled_then_smallest() -> None:
    listed = models("", limit=10_000)
    rows = listed["models"]
    first = [row for row in rows if row["start"]]
    assert rows[: len(first)] == first
    assert {row["modality"] for row in first} == {"audio", "image", "text"}
    for modality in ("image", "text"):
        assert 2 <= sum(row["modality"] == modality for row in first) <= 5
    sizes = [row["bytes"] for row in first]
    assert sizes == sorted(sizes)
    bundled = [row["source"] for row in rows[len(first) : len(first) + 2]]
    assert bundled == ["english", "digits04"]
    others = [row["bytes"] for row in rows[len(first) + 2 :] if not row["cached"]]
    known = [size for size in others if size is not None]
    assert others[: len(known)] == known == sorted(known) and len(known) > 1700
    assert all(row["license"] for row in first)


def test_a_limited_list_counts_the_models_left_out() -> None:
    listed = models("resnet50", limit=3)
    assert len(listed["models"]) == 3
    assert listed["more"] == len(models("resnet50", limit=10_000)["models"]) - 3


def test_the_catalogue_of_timm_equals_the_installed_timm() -> None:
    path = Path(zooadapt_timm.__file__).with_name("variants.csv")
    with path.open(newline="") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    configs = map(get_pretrained_cfg, timm.list_pretrained())
    licenses = {cfg.hf_hub_id: cfg.license or "" for cfg in configs if cfg.hf_hub_id}
    licenses = {name: value for name, value in licenses.items() if name.startswith("timm/")}
    assert {name: row["license"] for name, row in rows.items()} == licenses
    for name in ("timm/resnet18.a1_in1k", "timm/mobilenetv3_small_100.lamb_in1k"):
        net = timm.create_model(name.partition("/")[2], num_classes=0)
        assert sum(p.numel() for p in net.parameters()) == int(rows[name]["parameters"])


def test_clearing_features_spares_those_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path))
    for name, size in (("free", 1000), ("used", 70)):
        (tmp_path / "carries" / name).mkdir(parents=True)
        (tmp_path / "carries" / name / "x.safetensors").write_bytes(bytes(size))
    lock = locks.lock_shared(tmp_path / "carries/used")
    (row,) = [row for row in stored() if row["kind"] == "features"]
    assert row["bytes"] >= 1070 and row["place"] == str(tmp_path / "carries")
    assert clear_features() == 1000
    assert not (tmp_path / "carries/free").exists()
    assert (tmp_path / "carries/used/x.safetensors").exists()
    del lock
    clear_features()
    assert list((tmp_path / "carries").iterdir()) == []
