"""The activation cache: equal to computing anew, valid for its facts alone, bounded, safe beside
other writers and killed ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.cache import Cache, Entry
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import build
from zooadapt.data import ReadOptions, open_inputs
from zooadapt.runtime import filesystem
from zooadapt.runtime.measurements import remember
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt
from zooadapt.zoo import registry
from zooadapt.zoo.sources import open_source

FACTS = {"network": "one", "cut": 3, "precision": "fp32"}


def digests(n: int) -> list[bytes]:
    return [hashlib.sha256(str(k).encode()).digest() for k in range(n)]


def activations(n: int) -> dict[str, torch.Tensor]:
    return {"features": torch.arange(n * 4, dtype=torch.float32).view(n, 4)}


def fill(entry: Entry, n: int) -> None:
    with entry.writing() as add:
        add(digests(n), activations(n))


def filled(entry: Entry, n: int) -> Path:
    """Its folder; nobody uses it any more."""
    fill(entry, n)
    return entry.folder


def shard_of(entry: Entry) -> Path:
    (path,) = entry.folder.glob("*.safetensors")
    return path


def test_stored_activations_are_read_in_any_order(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1 << 30)
    fill(cache.entry(FACTS), 10)
    entry = cache.entry(dict(reversed(FACTS.items())))
    assert not len(entry.missing(digests(10)))
    assert entry.missing(digests(12)).tolist() == [10, 11]
    rows = entry.rows(digests(10)).gather(np.array([7, 0, 7]))
    assert torch.equal(rows["features"], activations(10)["features"][[7, 0, 7]])


@pytest.mark.parametrize(
    "change", [{"cut": 2}, {"precision": "bf16"}, {"network": "two"}, {"x": 1}]
)
def test_another_fact_is_another_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = Cache(tmp_path, limit=1 << 30)
    fill(cache.entry(FACTS), 10)
    assert len(cache.entry(FACTS | change).missing(digests(10))) == 10


def test_a_shard_with_a_flipped_bit_is_ignored_and_replaced(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1 << 30)
    fill(cache.entry(FACTS), 10)
    path = shard_of(cache.entry(FACTS))
    broken = bytearray(path.read_bytes())
    broken[-3] ^= 4
    path.write_bytes(broken)
    entry = cache.entry(FACTS)
    assert len(entry.missing(digests(10))) == 10
    assert not path.exists()
    fill(entry, 10)
    assert not len(entry.missing(digests(10)))


def test_the_least_recently_used_entry_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1 << 30)
    facts = [FACTS | {"cut": k} for k in range(3)]
    folders = [filled(cache.entry(fact), 100) for fact in facts]
    size = shard_of(cache.entry(facts[0])).stat().st_size
    for age, folder in ((30, folders[1]), (20, folders[2]), (10, folders[0])):
        os.utime(folder, (time.time() - age,) * 2)
    # used just now, so no longer the oldest
    assert not len(cache.entry(facts[1]).missing(digests(100)))
    Cache(tmp_path, limit=2 * size).trim()
    assert [folder.exists() for folder in folders] == [True, True, False]


def test_an_entry_in_use_is_never_removed(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path, limit=1 << 30), Cache(tmp_path, limit=0)
    folder = filled(cache.entry(FACTS), 10)
    with cache.entry(FACTS).writing():
        other.trim()
        assert folder.exists()
    entry = cache.entry(FACTS)
    assert not len(entry.missing(digests(10)))
    rows = entry.rows(digests(10))
    del entry
    other.trim()
    assert torch.equal(rows.gather(np.arange(10))["features"], activations(10)["features"])
    del rows
    other.trim()
    assert not folder.exists()
    assert len(cache.entry(FACTS).missing(digests(10))) == 10 and not folder.exists()


def test_room_is_measured_before_anything_is_stored(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1000)
    assert cache.room_for(1000) and not cache.room_for(1001)
    free = shutil.disk_usage(tmp_path).free
    assert not Cache(tmp_path, limit=free * 2).room_for(free)


def test_activations_in_use_count_towards_the_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10_000)
    filled(cache.entry(FACTS), 10)
    assert cache.room_for(10_000)
    entry = cache.entry(FACTS)
    assert not len(entry.missing(digests(10)))
    rows, size = entry.rows(digests(10)), shard_of(entry).stat().st_size
    assert cache.room_for(10_000 - size) and not cache.room_for(10_001 - size)
    del entry
    assert cache.room_for(10_000 - size) and not cache.room_for(10_001 - size)
    del rows
    assert cache.room_for(10_000)


def test_a_tilde_in_the_cache_path_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZOOADAPT_CACHE", "~/cache")
    monkeypatch.chdir(tmp_path)
    assert remember("costs", FACTS, lambda: {"seconds": 1}) == {"seconds": 1}
    assert list((tmp_path / "cache/costs").iterdir()) and not (tmp_path / "~").exists()


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import FACTS, Cache, activations, digests, fill
entry = Cache(Path({folder!r}), limit=1 << 30).entry(FACTS)
for n in (40, 60, 80):
    if len(entry.missing(digests(n))):
        fill(entry, n)
    assert not len(entry.missing(digests(n)))
    rows = entry.rows(digests(n)).gather(__import__("numpy").arange(n))
    assert rows["features"].equal(activations(n)["features"])
"""


def test_eight_processes_share_one_entry(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    running = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for process in running:
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    assert not list(tmp_path.rglob("*/.*"))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import FACTS, Cache, fill
entry = Cache(Path({folder!r}), limit=1 << 30).entry(FACTS)
sys.addaudithook(lambda event, _: event != "os.rename" or os.kill(os.getpid(), signal.SIGKILL))
fill(entry, 100_000)
"""


def test_what_a_killed_writer_left_is_removed_later(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    cache = Cache(tmp_path, limit=1 << 20)
    folder = filled(cache.entry(FACTS), 10)
    entry = cache.entry(FACTS)
    assert len(entry.missing(digests(10))) == 0
    (leftover,) = folder.glob(".*")
    cache.trim()  # its writer may still run on another host
    assert leftover.exists() and folder.exists()
    with filesystem.staging(folder / "shard") as at_work:
        for stage in (leftover, at_work):
            os.utime(stage, (time.time() - 7200,) * 2)
        cache.trim()
        assert list(folder.glob(".*")) == [at_work]
    assert len(cache.entry(FACTS).missing(digests(10))) == 0


def test_a_killed_writer_leaves_nothing_beyond_the_limit(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", code])
    Cache(tmp_path, limit=1 << 20).trim()
    assert not list((tmp_path / "carries").iterdir())


def test_trimming_tolerates_other_processes(tmp_path: Path) -> None:
    folder = filled(Cache(tmp_path, limit=1 << 20).entry(FACTS), 10)
    (folder / "listed, then removed").symlink_to("nowhere")
    Cache(tmp_path, limit=1 << 20).trim()
    assert folder.exists()
    Cache(tmp_path, limit=0).trim()
    assert not folder.exists()
    (tmp_path / "carries/trim.lock").mkdir()
    Cache(tmp_path, limit=0).trim()


@pytest.fixture(scope="module")
def photos(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 10), ("test", 4)):
        for label in sorted((real_data / "images/ants_bees" / part).iterdir()):
            (folder / part / label.name).mkdir(parents=True)
            for image in sorted(label.iterdir())[:count]:
                shutil.copy(image, folder / part / label.name / image.name)
    return folder


@pytest.fixture
def run(real_data: Path, photos: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(name: str, **options: Any) -> dict[str, Any]:
        source = real_data / "weights/mobilenetv2_035.keras_in1k_headless"
        request = Request(source=str(source), data=str(photos), out=tmp_path / name,
                          input_size=96, precision="fp32", **options)  # fmt: skip
        return adapt(request, Progress()).report

    return run


@pytest.fixture
def store(real_data: Path, photos: Path, tmp_path: Path) -> Callable[[], ActivationStore]:
    source = real_data / "weights/mobilenetv2_035.keras_in1k_headless"
    model = build(open_source(str(source)), task=of_classes(("ants", "bees")))
    split = open_inputs([str(photos / "test")], modality="image", options=ReadOptions())
    engine = Engine(precision="fp32", channels_last=False)

    def store() -> ActivationStore:
        cache = Cache(tmp_path, limit=1 << 30)
        return ActivationStore(
            model, engine, {"test": split}, batch_size=8, progress=Progress(), cache=cache
        )

    return store


def test_a_pass_starts_from_the_deepest_stored_activations(
    store: Callable[[], ActivationStore],
) -> None:
    activations = store()
    assert activations.at("test", 5).freeze_at == 0
    activations.prepare("test", [3, 4])
    starts = [activations.at("test", freeze_at).freeze_at for freeze_at in (0, 2, 3, 4, 5)]
    assert starts == [0, 0, 3, 4, 4]


@pytest.mark.parametrize("name", ["zooadapt_timm", "library", "library_for_python"])
def test_activations_of_another_version_are_ignored(
    store: Callable[[], ActivationStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(registry.load("timm"), "imports", ("library.part",))
    entry_points = metadata.distribution("zooadapt-timm").read_text("entry_points.txt")
    texts = {"top_level.txt": "library\n"}
    if name == "zooadapt_timm":
        texts = {"entry_points.txt": entry_points}
    for number in (1, 2):
        site = tmp_path / f"site{number}"
        info = site / f"{name}-{number}.dist-info"
        info.mkdir(parents=True)
        texts["METADATA"] = f"Name: {name}\nVersion: {number}\n"
        for file, text in texts.items():
            (info / file).write_text(text)
        monkeypatch.syspath_prepend(site)
        store().prepare("test", [1])
        assert len(list((tmp_path / "carries").glob("*/*.safetensors"))) == number


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_training_from_the_cache_equals_training_without_it(
    run: Callable[..., dict[str, Any]],
) -> None:
    options = {"strategy": "from:blocks.6", "epochs": 3, "augment": "none"}
    stored, computed = run("stored", **options), run("computed", cache_gb=0, **options)
    for mine, other in zip(stored["epochs"], computed["epochs"], strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
        # AdamW's first steps follow the sign of a gradient, which rounding can flip.
        assert mine["val_loss"] == pytest.approx(other["val_loss"], rel=1e-2)


def test_activations_beyond_the_limit_are_computed_with_a_note(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "small"))
    report = run("out", strategy="from:blocks.1", epochs=1, cache_gb=0.0005)
    assert any("more than the cache may take" in note for note in report["notes"])
    stored = sum(f.stat().st_size for f in (tmp_path / "small").rglob("*.safetensors"))
    assert stored <= 500_000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["notes"] == report["notes"]


def test_the_limit_holds_where_one_split_exceeds_it(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> int:
        return sum(f.stat().st_size for f in Path(os.environ["ZOOADAPT_CACHE"]).rglob("*.s*"))

    options = {"strategy": "from:blocks.5", "epochs": 1, "augment": "none"}
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "large"))
    whole = run("whole", **options)
    limit = stored() * 4 // 5
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "small"))
    for name in ("first", "second"):
        report = run(name, cache_gb=limit / 1e9, **options)
        assert report["test"]["accuracy"] == whole["test"]["accuracy"]
        assert [n for n in report["notes"] if "more than the cache may take" in n]
        assert 0 < stored() <= limit


@pytest.mark.parametrize("inside", ["", "cache"])
def test_a_read_only_cache_is_noted_and_not_needed(
    run: Callable[..., dict[str, Any]],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inside: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "file" / inside))
    report = run("out", strategy="probe")
    assert len([note for note in report["notes"] if "cannot be written" in note]) == 1
    for gigabytes in (1.0, 0.0):
        settings, place = inference.Settings(cache_gb=gigabytes), [str(photos / "test")]
        assert len(inference.predict(str(tmp_path / "out"), place, settings, Progress())) == 8
