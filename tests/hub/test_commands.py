"""`zooadapt pull` and `push` as a user meets them."""

import json
import os
import subprocess
import sys

import pytest
import torch

from zooadapt import registry
from zooadapt.weights import write_weights

from .client import TOKEN, model_files, write_export


@pytest.fixture
def zooadapt(hub, tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ZOOADAPT_"))}

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "zooadapt", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path,
            env=kept | {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*",
                        "HF_ENDPOINT": hub.url, "ZOOADAPT_CACHE": str(tmp_path / "zoo"),
                        "HF_TOKEN": TOKEN} | environment,
        )  # fmt: skip

    return run


def test_pull_says_what_it_got_and_fails_with_its_code(hub, zooadapt, tmp_path):
    commit = hub.add("org/commands", model_files()).head.oid
    done = zooadapt("pull", f"org/commands@{commit}", "-o", "pulled")
    assert done.returncode == 0 and f"org/commands at {commit}, licence mit" in done.stdout
    assert (tmp_path / "pulled/zooadapt.lock.json").exists()
    again = zooadapt("pull", "org/commands", "-o", "pulled")
    assert again.returncode == 73 and "exists. Try:" in again.stderr and not again.stdout
    offline = zooadapt(
        "pull", f"org/commands@{commit}", "--offline", "--json", HF_ENDPOINT="http://x"
    )
    assert offline.returncode == 0 and json.loads(offline.stdout)["revision"] == commit
    typo = zooadapt("pull", "org/comands", "--json")
    assert typo.returncode == 66 and json.loads(typo.stdout)["thing"] == "org/comands"


def test_push_shows_first_and_then_does(hub, zooadapt, tmp_path):
    model = write_export(tmp_path / "model")
    dry = zooadapt("push", model, "me/commands", "--dry-run", HF_TOKEN="")
    assert dry.returncode == 0 and "nothing was sent" in dry.stdout and "+# 3 classes" in dry.stdout
    assert "me/commands" not in hub.repos
    done = zooadapt("push", model, "me/commands", "--public")
    assert done.returncode == 0 and f"published as {hub.url}/me/commands" in done.stdout
    assert not hub.repos["me/commands"].private
    refused = zooadapt("push", model, "me/commands", HF_TOKEN="")
    assert refused.returncode == 77 and "hf auth login" in refused.stderr


def test_what_a_generated_plugin_exports_is_pushed_and_used_from_the_hub(
    hub, zooadapt, toys, tmp_path
):
    """By the commands alone: adapt, push, evaluate from the Hub."""
    family = registry.load("words")
    (config,) = family.examples().values()
    torch.manual_seed(0)
    source = tmp_path / "source"
    source.mkdir()
    write_weights(source / "model.safetensors", family.build(config, 2).state_dict())
    (source / "config.json").write_text(json.dumps(config))
    texts = [f"{'1234 56' if k % 2 else 'ab cdef'} {k}" for k in range(40)]
    rows = [f"{text},{'digits' if k % 2 else 'letters'}" for k, text in enumerate(texts)]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]))
    path = {"PYTHONPATH": str(toys), "OMP_NUM_THREADS": "1"}
    for arguments in (
        ("adapt", source, "data.csv", "-o", "out", "--json"),
        ("push", "out", "me/words", "--json"),
        ("evaluate", "me/words", "data.csv", "--json"),
    ):
        done = zooadapt(*arguments, **path)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 40
    assert {"model.safetensors", "config.json", "README.md"} <= set(
        hub.repos["me/words"].head.files
    )
