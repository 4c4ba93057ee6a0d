"""Unavailable `hf:` data sets: exit codes and connections."""

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
    """A Hub with one gated data set and one that is a program; others do not exist."""

    def answer(request: Handler) -> bool:
        match = re.match(r"/datasets/(\w+/\w+)/resolve/\w+/(.*)", request.path)
        if match is None:
            return False
        name, file = match.groups()
        headers = {"X-Repo-Commit": "0" * 40, "ETag": '"1"'}
        if name == "org/closed":
            request.refuse(401, "GatedRepo", "restricted")
        elif name == "org/program" and file in ("README.md", "program.py"):
            request.reply(200, b"", headers)
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
def test_errors_distinguish_unavailable_sets(sets, shell, tmp_path, name, code, message):
    done = shell("command", "adapt", "english", f"hf:{name}", "-o", tmp_path / "out", "--json")
    (line,) = done["stderr"].splitlines()[-1:]
    assert done["code"] == code and re.search(message, line), done["stderr"]
    assert json.loads(done["stdout"])["thing"] == name and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["adapt", "features"])
def test_offline_opens_no_connection_for_a_set(sets, shell, tmp_path, command):
    out = tmp_path / "out.safetensors"
    done = shell("command", command, "english", "hf:org/typo", "-o", out, "--offline")
    assert done["code"] == 69 and "load it once with a connection" in done["stderr"]
    assert sets.seen == [] and not any("socket" in event for event in shell.events)
