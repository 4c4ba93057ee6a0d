"""`hf:` data sets as a user meets them where they cannot be had: exit codes and connections."""

import json
import re

import pytest

from .server import Handler

pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def shell(new_client):
    return new_client(PRELOAD="torch datasets zooadapt_rnn.network")


@pytest.fixture
def sets(hub):
    """What the Hub says of data sets: one is gated, one is a program, others are not there."""

    def answer(request: Handler) -> bool:
        found = re.match(r"/datasets/(\w+/\w+)/resolve/\w+/(.*)", request.path)
        if found is None:
            return False
        name, file = found.groups()
        mine = {"X-Repo-Commit": "0" * 40, "ETag": '"1"'}
        if name == "org/closed":
            request.refuse(401, "GatedRepo", "restricted")
        elif name == "org/program" and file in ("README.md", "program.py"):
            request.reply(200, b"", mine)
        else:
            request.refuse(404, "RepoNotFound", "not found")
        return True

    hub.fault = answer
    return hub


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("org/typo", 66, "could not be loaded: .* doesn't exist"),
        ("org/two/slashes", 66, "could not be loaded"),
        ("org/closed", 77, "is a gated dataset.* Try: ask for access"),
        ("org/program", 65, "scripts are no longer supported"),
    ],
)
def test_sets_that_cannot_be_had_are_told_apart(sets, shell, tmp_path, name, code, message):
    said = shell("command", "adapt", "english", f"hf:{name}", "-o", tmp_path / "out", "--json")
    (line,) = said["stderr"].splitlines()[-1:]
    assert said["code"] == code and re.search(message, line), said["stderr"]
    assert json.loads(said["stdout"])["thing"] == name and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["adapt", "features"])
def test_offline_asks_nobody_for_a_set(sets, shell, tmp_path, command):
    out = tmp_path / "out.safetensors"
    said = shell("command", command, "english", "hf:org/typo", "-o", out, "--offline")
    assert said["code"] == 69 and "load it once with a connection" in said["stderr"]
    assert sets.seen == [] and not any("socket" in event for event in shell.events)
