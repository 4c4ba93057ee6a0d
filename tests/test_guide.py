"""The plugin guide: its example is a plugin, its tables match the interface, its claims hold."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zooadapt.backbone.pretrained import build
from zooadapt.family import PREPROCESSOR_EXTRAS, Family, Preprocessor
from zooadapt.runtime.model_files import write_weights
from zooadapt.testing import CHECKS, Case
from zooadapt.testing.declaration import members
from zooadapt.testing.preprocessing import AUGMENTATIONS
from zooadapt.zoo import hub, registry
from zooadapt.zoo.plugin_proxy import PreprocessorProxy
from zooadapt.zoo.sources import Source

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "plugins" / "README.md").read_text("utf-8")
PAGE = GUIDE.partition("## A worked example")[0]
BUNDLED = ("rnn", "timm", "transformers", "transformers-vision")


def test_the_interface_table_names_every_member_and_no_other():
    rows = re.findall(r"^\| \**`(\w+)[^`]*`\** \|", PAGE, re.MULTILINE)
    assert set(rows) == members(Family)
    assert len(rows) == len(set(rows))


def test_a_table_names_the_members_of_a_preprocessor():
    section = GUIDE.partition("### 5.")[2].partition("### 6.")[0]
    rows = re.findall(r"^\| (\**)`(\w+)(?:\(([^)]*)\))?`\** \|", section, re.MULTILINE)
    required = {"__call__", *members(Preprocessor)}
    assert {name for bold, name, _ in rows if bold} == required
    assert {name for bold, name, _ in rows if not bold} == set(PREPROCESSOR_EXTRAS)
    for _, name, arguments in rows:
        if name != "min_side":
            method = getattr(PreprocessorProxy, "_many" if name == "many" else name)
            parameters = [
                p for p in inspect.signature(method).parameters if p not in ("self", name)
            ]
            assert [part for part in arguments.split(", ") if part] == parameters, name


def test_optional_members_of_a_preprocessor_are_declared():
    source = inspect.getsource(PreprocessorProxy)
    assert set(re.findall(r'getattr\([\w.]+, "(\w+)"', source)) == set(PREPROCESSOR_EXTRAS)


def test_the_guide_names_augmentations_and_reserved_stages():
    for value in AUGMENTATIONS:
        assert f'`"{value}"`' in GUIDE
    assert "`start`\n  and `end` are the core's" in GUIDE


def test_the_bold_members_are_the_required_ones():
    bold = re.findall(r"^\| \*\*`(\w+)\(", PAGE, re.MULTILINE)
    assert set(bold) == Family.__abstractmethods__


def test_the_table_gives_the_arguments_of_every_method():
    for name, arguments in re.findall(r"^\| \**`(\w+)\(([^)]*)\)`", PAGE, re.MULTILINE):
        parameters = list(inspect.signature(getattr(Family, name)).parameters)[1:]
        assert [part.strip() for part in arguments.split(",") if part] == parameters, name


def test_every_check_in_the_guide_exists():
    names = {check.__name__ for check in CHECKS}
    assert set(re.findall(r"`(check_\w+)`", GUIDE)) <= names


def test_the_example_is_lint_free_and_formatted(toys):
    package = toys / "zooadapt-tiles"
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "pyproject.toml"), str(package)]
    for step in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *step, *config], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_prompt_of_the_guide_runs(toys):
    section = GUIDE.partition("## When a check fails")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    names: dict = {}
    exec(compile(code, "plugins/README.md", "exec"), names)
    case = names["case"]
    assert isinstance(case, Case)
    assert case.activations(1)["x"].shape[0] == 4 and case.logits.shape == (4, 3)


def test_the_size_in_the_guide_is_the_network_s(toys):
    family = registry.load_class("tiles")()
    (variant,) = family.variants()
    net = family.build(family.examples()["colour"], 10)
    backbone = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("head"))
    assert variant.parameters == backbone


def test_checkpoints_of_several_gpus_load(toys, tmp_path):
    family = registry.load("tiles")
    config = {**family.examples()["colour"], "classes": ["a", "b"]}
    torch.manual_seed(0)
    net = family.build(config, 2)
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    write_weights(tmp_path / "model.safetensors", state)
    origin = hub.Source(location="x", folder=tmp_path, revision=None, files={}, license=None)
    loaded = build(Source(origin=origin, family=family, config=config)).backbone.net.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_plugin_imports_quickly_and_without_torch(name, tmp_path):
    """At most 50 ms of processor time beyond the interpreter, once compiled."""
    module = registry.load_class(name).__module__.partition(".")[0]
    code = (
        "import sys, time; start = time.process_time();"
        f"import {module}; seconds = time.process_time() - start;"
        "print(seconds, 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=environment,
        )  # fmt: skip
        seconds, torch_loaded = done.stdout.split()
        assert torch_loaded == "False"
        runs.append(float(seconds))
    assert min(runs) < 0.05, runs
