"""The commands `zooadapt pull`, `push`, `models` and `cache` with a Hub."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios

import pytest
import torch

from zooadapt.runtime.model_files import write_weights
from zooadapt.zoo import registry

from .client import TOKEN, model_files, write_export


@pytest.fixture
def zooadapt(hub, tmp_path):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ZOOADAPT_"))}

    def run(*arguments, stderr=subprocess.PIPE, **environment):
        return subprocess.run(
            [sys.executable, "-m", "zooadapt", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=tmp_path,
            env=inherited | {
                "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*",
                "HF_ENDPOINT": hub.url, "ZOOADAPT_CACHE": str(tmp_path / "zoo"),
                "HF_TOKEN": TOKEN} | environment,
        )  # fmt: skip

    return run


def test_pull_prints_commit_and_licence_and_fails_with_its_code(hub, zooadapt, tmp_path):
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


def test_push_shows_a_dry_run_and_then_publishes(hub, zooadapt, tmp_path):
    model = write_export(tmp_path / "model")
    dry = zooadapt("push", model, "me/commands", "--dry-run", HF_TOKEN="")
    assert dry.returncode == 0 and "nothing was sent" in dry.stdout and "+# 3 classes" in dry.stdout
    assert "me/commands" not in hub.repos
    done = zooadapt("push", model, "me/commands", "--public")
    assert done.returncode == 0 and f"published as {hub.url}/me/commands" in done.stdout
    assert not hub.repos["me/commands"].private
    refused = zooadapt("push", model, "me/commands", HF_TOKEN="")
    assert refused.returncode == 77 and "hf auth login" in refused.stderr


def test_a_dry_run_needs_no_network(zooadapt, tmp_path):
    model = write_export(tmp_path / "model")
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "", "ZOOADAPT_HUB_PAUSE": "0.01"}
    for more in ((), ("--offline",)):
        dry = zooadapt("push", model, "me/unseen", "--dry-run", *more, **nowhere)
        assert dry.returncode == 0, dry.stderr
        assert "nothing was sent" in dry.stdout and "could not be compared: " in dry.stdout
        plan = json.loads(
            zooadapt("push", model, "me/unseen", "--dry-run", "--json", *more, **nowhere).stdout
        )
        assert plan["unseen"] and not plan["creates_repo"]
        assert {file["change"] for file in plan["files"]} == {"unknown"}
    done = zooadapt("push", model, "me/unseen", **nowhere | {"HF_TOKEN": TOKEN})
    assert done.returncode == 69


def test_models_lists_downloads(hub, zooadapt, tmp_path):
    files = model_files() | {"config.json": b'{"architecture": "char_lstm", "vocab": {"a": 0}}'}
    repo = hub.add("org/seen", files)
    zooadapt("pull", "org/seen")
    listed = zooadapt("models", "org/seen", "--json", ZOOADAPT_PLUGINS="rnn")
    (row,) = json.loads(listed.stdout)["models"]
    assert row["source"] == f"org/seen@{repo.head.oid}" and row["family"] == "rnn"
    assert row["license"] == "mit" and "downloaded" in row["note"]
    fetched = ("config.json", "model.safetensors", "README.md", "LICENSE")
    assert row["cached"] == {"revision": repo.head.oid, "files": sorted(fetched),
                             "bytes": sum(len(files[name]) for name in fetched)}  # fmt: skip
    table = zooadapt("models", "seen", ZOOADAPT_PLUGINS="rnn").stdout
    assert f"org/seen@{repo.head.oid}" in table and "downloaded, 0.0 MB" in table


def test_downloads_are_listed_newest_first_and_cleared(hub, zooadapt, tmp_path):
    names = [f"org/stored{k}" for k in range(3)]
    for name in names:
        hub.add(name, model_files())
        assert zooadapt("pull", name).returncode == 0
    listed = json.loads(zooadapt("models", "org/stored", "--json", ZOOADAPT_PLUGINS="rnn").stdout)
    assert [m["source"].partition("@")[0] for m in listed["models"]] == names[::-1]
    assert {m["bytes"] for m in listed["models"]} == {
        m["cached"]["bytes"] for m in listed["models"]
    }
    limited = zooadapt("models", "org/stored", "--json", "--limit", "2", ZOOADAPT_PLUGINS="rnn")
    assert json.loads(limited.stdout) == listed | {"models": listed["models"][:2], "more": 1}

    stored = json.loads(zooadapt("cache", "list", "--json").stdout)
    sources = [row for row in stored["stored"] if row["kind"] == "source"]
    assert {row["name"].partition("@")[0] for row in sources} == set(names)
    assert "org/stored1@" in zooadapt("cache", "list").stdout
    refused = zooadapt("cache", "clear")
    assert refused.returncode == 2 and "--features" in refused.stderr
    done = zooadapt("cache", "clear", "--features")
    assert done.returncode == 0
    assert zooadapt("pull", names[0], "--offline").returncode == 0
    cleared = zooadapt("cache", "clear", "--sources", "--json")
    assert json.loads(cleared.stdout)["freed"] == sum(row["bytes"] for row in sources)
    assert list((tmp_path / "hf").rglob("*.safetensors")) == []
    rows = json.loads(zooadapt("cache", "list", "--json").stdout)["stored"]
    assert "source" not in {row["kind"] for row in rows}
    assert zooadapt("pull", names[0], "--offline").returncode == 69
    assert zooadapt("pull", names[0]).returncode == 0


def test_without_a_terminal_transfers_are_silent(hub, zooadapt, tmp_path):
    hub.add("org/silent", model_files())
    assert zooadapt("pull", "org/silent").stderr == ""
    model = write_export(tmp_path / "model")
    assert zooadapt("push", model, "me/silent").stderr == ""


def test_on_a_terminal_transfers_show_bytes_and_their_rate(hub, zooadapt, tmp_path):
    hub.add("org/shown", model_files())
    model = write_export(tmp_path / "model", seed=1)
    for command in (("pull", "org/shown"), ("push", model, "me/shown")):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        with open(ours, "rb", buffering=0) as terminal:
            done = zooadapt(*command, stderr=theirs)
            os.close(theirs)
            output = b""
            with contextlib.suppress(OSError):  # Linux raises it once the other end is closed
                while part := terminal.read(65536):
                    output += part
        assert done.returncode == 0, output
        text = output.decode()
        assert re.search(r"model\.safetensors: *100%.*[\d.]+k/[\d.]+k.*B/s", text), text


def test_a_generated_plugin_s_export_evaluates_from_the_hub(hub, zooadapt, toys, tmp_path):
    """By commands: adapt, push, evaluate from the Hub."""
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
