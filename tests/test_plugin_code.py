"""After an edit of a plugin, results of its earlier code are not used again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zooadapt.runtime import filesystem
from zooadapt.runtime.model_files import write_weights
from zooadapt.runtime.progress import Progress
from zooadapt.workflows import inference
from zooadapt.zoo import registry
from zooadapt.zoo.plugin_code import code_sha256

PREPROCESSING = ("preprocess.py", "/ 127.5 - 1", "/ 63.75 - 2")
POOLING = ("family.py", '["x"].mean((2, 3))', '["x"].amax((2, 3))')
CONFIG = {"model_type": "tiles", "side": 32, "channels": 3, "widths": [8, 8], "dropout": 0.0}


class Author:
    """The guide's plugin under the name `mynet`, in a folder where its author edits it."""

    def __init__(self, folder: Path, toys: Path) -> None:
        self.package, self.info = folder / "zooadapt_mynet", folder / "zooadapt_mynet-1.dist-info"
        shutil.copytree(toys / "zooadapt_tiles", self.package)
        for path in self.package.glob("*.py"):
            text = path.read_text().replace("zooadapt_tiles", "zooadapt_mynet")
            path.write_text(text.replace('name = "tiles"', 'name = "mynet"'))
        self.info.mkdir()
        (self.info / "METADATA").write_text("Name: zooadapt-mynet\nVersion: 1\n")
        entry = f"[{registry.GROUP}]\nmynet = zooadapt_mynet:TilesFamily\n"
        (self.info / "entry_points.txt").write_text(entry)

    def edit(self, file: str, before: str, after: str) -> None:
        text = (self.package / file).read_text()
        assert before in text
        (self.package / file).write_text(text.replace(before, after))

    def code(self) -> str:
        return registry.code_of(registry.load("mynet"))

    def restart(self) -> None:
        """Forget the package as a new process does."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "zooadapt_mynet"]:
            del sys.modules[name]
        for cached in (registry._load, registry._construct, registry._import):
            cached.cache_clear()


@pytest.fixture
def author(toys, tmp_path, monkeypatch) -> Author:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    author = Author(tmp_path / "site", toys)
    yield author
    author.restart()


@pytest.fixture
def features(author, pictures, tmp_path) -> Callable[..., torch.Tensor]:
    folder = tmp_path / "source"
    folder.mkdir()
    net = registry.load("tiles").build(CONFIG, 2)
    write_weights(folder / "model.safetensors", net.state_dict())
    filesystem.write_json(folder / "config.json", CONFIG)

    def features(**settings: float) -> torch.Tensor:
        out = tmp_path / "features.safetensors"
        options = inference.Settings(precision="fp32", **settings)
        inference.features(f"mynet:{folder}", str(pictures), out, options, Progress())
        return load_file(out)["features"]

    return features


@pytest.mark.parametrize("edit", [PREPROCESSING, POOLING], ids=["preprocessing", "pooling"])
def test_features_follow_the_current_code(author, features, tmp_path, edit):
    cache = tmp_path / "cache"
    before = features()
    assert torch.equal(features(), before)
    assert [len(list((cache / kind).iterdir())) for kind in ("carries", "modes")] == [1, 1]
    author.edit(*edit)
    author.restart()
    after = features()
    assert torch.equal(after, features(cache_gb=0)) and not torch.allclose(after, before)
    assert [len(list((cache / kind).iterdir())) for kind in ("carries", "modes")] == [2, 2]


def test_code_edited_after_its_import_has_a_hash_of_its_own(author):
    before = author.code()
    author.edit(*POOLING)
    between = author.code()
    author.restart()
    assert len({before, between, author.code()}) == 3


def test_a_restored_file_has_the_same_hash(author):
    before = author.code()
    author.edit(*POOLING)
    author.edit(POOLING[0], POOLING[2], POOLING[1])
    os.utime(author.package / POOLING[0], (1, 1))
    assert author.code() == before
    (author.package / "__pycache__").mkdir(exist_ok=True)
    (author.package / "__pycache__" / "x.py").touch()
    (author.package / "notes.txt").touch()
    assert author.code() == before
    (author.package / "more").mkdir()
    (author.package / "more" / "layers.py").touch()
    assert author.code() != before


def test_an_editable_install_covers_all_importable_code(author, tmp_path):
    project = tmp_path / "a project"
    for name in ("src/layers/__init__.py", "helpers.py", ".venv/x.py", "data/x.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    record = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (author.info / "direct_url.json").write_text(json.dumps(record))
    codes = [author.code()]
    for name, part in (("src/layers/__init__.py", True), ("helpers.py", True),
                       (".venv/x.py", False), ("data/x.py", False)):  # fmt: skip
        (project / name).write_text("edited = True")
        codes.append(author.code())
        assert (codes[-1] != codes[-2]) is part, name


def test_the_distribution_and_base_classes_count(author, tmp_path):
    other = tmp_path / "site" / "mynet_layers.py"
    other.touch()
    (author.info / "RECORD").write_text("mynet_layers.py,,\nzooadapt_mynet/gone.py,,\n")
    before = author.code()
    other.write_text("edited = True")
    assert author.code() != before
    base = type(registry.load("mynet").plugin)
    derived = type("Derived", (base,), {"__module__": "__main__"})
    before = code_sha256(derived)
    author.edit(*POOLING)
    assert code_sha256(derived) != before
