"""A generated plugin installs, passes its tests and adapts a model without any change."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from zooadapt.errors import OutputError, UsageError
from zooadapt.zoo.scaffold import write_plugin

ROOT = Path(__file__).parent.parent
DRIVER = """
import json, sys
from zooadapt.cli import root
for line in sys.stdin:
    code = root.main(json.loads(line), standalone_mode=False)
    assert not code, code
"""
WEIGHTS = """
import sys, torch
from pathlib import Path
from zooadapt.runtime import filesystem, model_files
from zooadapt.zoo import registry
family, folder = registry.load(sys.argv[1]), Path(sys.argv[2])
(config,) = family.examples().values()
torch.manual_seed(0)
model_files.write_weights(folder / "model.safetensors", family.build(config, 2).state_dict())
filesystem.write_json(folder / "config.json", config)
"""


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[Path], Path]:
    """Install a package into an environment of its own, which also sees this one's packages; its
    interpreter."""

    def make(package: Path) -> Path:
        place = tmp_path / "environment"
        uv = shutil.which("uv")
        create = [uv, "venv", "-q"] if uv else [sys.executable, "-m", "venv"]
        subprocess.run([*create, str(place)], check=True)
        site = next(place.glob("lib/python*/site-packages"))
        shared = sysconfig.get_path("purelib")
        (site / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
        python = place / "bin" / "python"
        pip = [uv, "pip"] if uv else [python, "-m", "pip"]
        pip += ["install", "-q", *(["--python", python] if uv else [])]
        done = subprocess.run([*pip, "--no-deps", package], capture_output=True, text=True)
        if done.returncode and "hatchling" in done.stderr:
            pytest.skip(f"the build backend cannot be installed: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, done.stderr
        return python

    return make


def image_data(folder: Path) -> Path:
    """Dark pictures and light ones."""
    rng = np.random.default_rng(0)
    for low, name in ((0, "dark"), (120, "light")):
        for part, n in (("train", 12), ("test", 5)):
            place = folder / part / name
            place.mkdir(parents=True)
            for k in range(n):
                pixels = rng.integers(low, low + 130, (48, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{k}.png")
    return folder


def text_data(folder: Path) -> Path:
    """Texts of digits and texts of letters."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, n in (("train", 24), ("test", 10)):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            for k in range(n):
                letters = list("0123456789" if k % 2 else "abcdefghij")
                rows.writerow(
                    ["".join(rng.choice(letters, 12 + k)), "digits" if k % 2 else "words"]
                )
    return folder


@pytest.mark.parametrize(("modality", "data"), [("image", image_data), ("text", text_data)])
def test_a_generated_plugin_adapts_and_evaluates(modality, data, tmp_path, environment):
    package = write_plugin("my-net", modality, tmp_path)
    python = environment(package)
    outside = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*arguments: str | Path, lines: str | None = None) -> str:
        done = subprocess.run(
            [python, "-P", *arguments],
            input=lines, capture_output=True, text=True, cwd=tmp_path, env=outside,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    outcome = run("-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests")
    assert " passed" in outcome and "failed" not in outcome

    assert metadata_of(python)["License-Expression"] == "Apache-2.0"

    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    run("-c", WEIGHTS, "my-net", source)
    samples = str(data(tmp_path / "data"))
    commands = [
        ["adapt", str(source), samples, "-o", str(out), "--json"],
        ["evaluate", str(out), samples, "--json"],
        ["adapt", str(out), samples, "-o", str(tmp_path / "again"), "--json"],
    ]
    adapted, evaluated, again = map(
        json.loads, run("-c", DRIVER, lines="\n".join(map(json.dumps, commands))).splitlines()
    )
    assert adapted["family"] == "my-net" and adapted["test"]["n"] == 10
    assert adapted["test"]["accuracy"] == evaluated["accuracy"] == 1.0
    assert again["carried_classes"] == adapted["classes"]
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == "my-net" and config["classes"] == adapted["classes"]
    assert config["zooadapt"]["plugin"] == "0.1.0"


def metadata_of(python: Path) -> Message:
    (path,) = python.parents[1].glob("lib/python*/site-packages/zooadapt_my_net-*/METADATA")
    assert list(path.parent.rglob("LICENSE"))
    return message_from_string(path.read_text())


def test_a_generated_project_has_licence_ignores_and_workflow(tmp_path):
    package = write_plugin("my-net", "image", tmp_path)
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "__pycache__/" in (package / ".gitignore").read_text().splitlines()
    (workflow,) = (package / ".github" / "workflows").iterdir()
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    steps = [step["run"] for step in jobs["checks"]["steps"] if "run" in step]
    assert steps[-3:] == ['pip install ".[test]"', "pytest", "zooadapt plugins check my-net"]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_generated_code_is_lint_free_and_its_family_short(modality, tmp_path):
    package = write_plugin("a-b", modality, tmp_path)
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), "."]
    for step in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *step, *config], cwd=package, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    family = (package / "zooadapt_a_b" / "family.py").read_text()
    assert "class ABFamily(Family)" in family and len(family.splitlines()) <= 65
    assert "$" not in "".join(path.read_text() for path in package.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["Big", "1st", "a_b", "a--b", "-a", "../a", "", "a" * 41])
def test_invalid_plugin_names_are_refused(name, tmp_path):
    with pytest.raises(UsageError, match="is not a valid plugin name"):
        write_plugin(name, "image", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_plugin_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'rnn' is installed already, by zooadapt-rnn"):
        write_plugin("rnn", "text", tmp_path)


def test_an_existing_folder_stays_unchanged(tmp_path):
    folder = tmp_path / "zooadapt-mine"
    folder.mkdir()
    (folder / "precious").write_text("work")
    with pytest.raises(OutputError):
        write_plugin("mine", "image", tmp_path)
    assert [path.name for path in folder.iterdir()] == ["precious"]
