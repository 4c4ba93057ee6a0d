"""Faults of the Hub or the network end in a correct source or one typed error, and soon."""

import os
import random
import time
from pathlib import Path

import pytest

from zooadapt.errors import UnavailableError

from . import faults
from .client import KILLS, HubError, model_files
from .faults import ANY, LARGE, fault
from .server import sha256

RESOLVE, INFO, HEAD = r"(GET|HEAD) /org/\w+/resolve", "GET /api/models", "HEAD /org"
REDIRECT = {"Location": "http://127.0.0.1:1/x"}

RECOVERS = {
    **{f"{code} four times": fault(faults.status(code), times=4)
       for code in (408, 429, 500, 502, 503, 504)},
    **{f"{code} four times for a body": fault(faults.status(code), on=LARGE, times=4)
       for code in (408, 429, 500, 502, 503, 504)},
    "wait a second, then go on": fault(faults.status(429, Retry_After="1"), on=INFO, times=1),
    "wait until a date": fault(
        faults.status(503, Retry_After="Fri, 31 Dec 2027 23:59:59 GMT"), on=LARGE, times=1),
    "reset before an answer": fault(faults.reset, times=4),
    "reset in a body": fault(faults.reset_after(0.5), on=LARGE, times=4),
    "hung up in a body": fault(faults.cut(0.5), on=LARGE, times=4),
    "hung up in a description": fault(faults.cut(0.5), on=INFO, times=4),
    "fewer bytes than announced": fault(faults.shorter, on=LARGE, times=1),
    "no answer once": fault(faults.stall, on=HEAD, times=1),
    "wrong bytes of the right number, once": fault(faults.wrong_bytes, on=LARGE, times=1),
}  # fmt: skip

FAILS = {
    "500 always": (fault(faults.status(500)), 69, r"answered 500 .*tried 5 times"),
    "503 for bodies": (fault(faults.status(503), on=LARGE), 69, r"503.*tried 5 times"),
    "429 always": (fault(faults.status(429)), 75, r"busy: .*429.*tried 5 times"),
    "wait for a day": (fault(faults.status(429, Retry_After="86400")), 75, "the Hub is busy"),
    "wait for a day for a body": (
        fault(faults.status(503, Retry_After="86400"), on=LARGE), 69, "503"),
    "reset always": (fault(faults.reset), 69, "tried 5 times"),
    "reset in every body": (fault(faults.reset_after(0.5), on=LARGE), 69, "broke off.*5 times"),
    "hung up in every body": (fault(faults.cut(0.9), on=LARGE), 69, "broke off.*5 times"),
    "always fewer bytes": (fault(faults.shorter, on=LARGE), 69, "fewer bytes.*tried 5 times"),
    "a byte at a time": (fault(faults.trickle, on=LARGE), 69, "too slow to go on"),
    "a description a byte at a time": (fault(faults.trickle, on=INFO), 69, "too slow to go on"),
    "headers a byte at a time": (
        fault(faults.trickle_headers, on=HEAD), 69, "tried 5 times"),
    "wrong bytes of the right number": (
        fault(faults.wrong_bytes, on=LARGE), 65, "'model.safetensors' .* hash differs"),
    "a wrong config of the right length": (
        fault(faults.wrong_bytes, on=r"GET /org/\w+/resolve/\w+/config"), 65, "'config.json'"),
    "endless body": (fault(faults.endless, on=r"GET /org/\w+/resolve"), 69, "sent more than"),
    "endless description": (fault(faults.endless, on=INFO), 69, "sent more than"),
    "compressed body": (
        fault(faults.compressed, on=r"GET /org/\w+/resolve"), 69, "compressed body"),
    "a log-in page": (fault(faults.page), 69, "not a Hub"),
    "a log-in page for a small file": (fault(faults.page, on=RESOLVE), 69, "not a Hub|not seem"),
    "a list for a description": (fault(faults.value([]), on=INFO), 69, "not a Hub"),
    "an empty description": (fault(faults.value({}), on=INFO), 69, "not a Hub"),
    "an empty answer": (fault(faults.status(204, b""), on=INFO), 69, "not a Hub"),
    "no commit": (fault(faults.with_info(sha=None), on=INFO), 69, "names no commit"),
    "a path for a commit": (fault(faults.with_info(sha="../../x"), on=INFO), 69, "no commit"),
    "files without names": (
        fault(faults.with_info(siblings=[{"size": 1}]), on=INFO), 69, "not a Hub"),
    "no X-Repo-Commit": (fault(faults.without("X-Repo-Commit"), on=HEAD), 69, "not a Hub"),
    "another X-Repo-Commit": (
        fault(faults.with_header("X-Repo-Commit", "1" * 40), on=RESOLVE + ".*config"), 69,
        "another commit"),
    "no ETag": (fault(faults.without("X-Linked-ETag|ETag"), on=HEAD), 69, "not a Hub"),
    "a path for an ETag": (
        fault(faults.with_header("ETag", '"../../../evil"'), on=HEAD), 69, "malformed ETag"),
    "a path for a linked ETag": (
        fault(faults.with_header("X-Linked-Etag", '"/tmp/evil"'), on=HEAD), 69, "malformed ETag"),
    "redirected for ever": (
        fault(lambda request: request.reply(302, b"", {"Location": request.path}), on=INFO), 69,
        "redirects"),
    "redirected to nobody": (
        fault(lambda request: request.reply(302, b"", REDIRECT), on=INFO), 69, "refused"),
    "redirected to a file": (
        fault(lambda request: request.reply(302, b"", {"Location": "file:///etc/passwd"}), on=INFO),
        69, "protocol|scheme|file"),
    "a listed file that is absent": (
        fault(lambda request: request.refuse(404, "EntryNotFound"), on=RESOLVE), 66, "lacks"),
    "no file for us": (
        fault(lambda request: request.refuse(403, "", "not you"), on=RESOLVE), 77, "not you"),
    "disabled": (
        fault(lambda request: request.refuse(403, "", "Access to this resource is disabled.")), 77,
        "is disabled"),
    "a teapot": (fault(faults.status(418, b"{}"), on=INFO), 69, "failed for 'org/"),
    "control characters in what it says": (
        fault(lambda request: request.reply(
            403, b'{"error": "\\u001b[2Jall \\u202efine"}', {"Content-Type": "application/json"})),
        77, r": \[2Jall fine\. Try"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECOVERS)
def test_a_temporary_fault_is_waited_out(hub, client, repo_id, case):
    repo = hub.add(repo_id, model_files())
    hub.fault = RECOVERS[case]
    files = client("fetch", repo_id)["files"]
    assert files == {name: sha256(repo.head.files[name]) for name in files}
    assert len(files) == 4 and client.seconds < 8


@pytest.mark.parametrize("case", FAILS)
def test_a_permanent_fault_is_one_typed_error(hub, client, repo_id, case, tmp_path):
    repo = hub.add(repo_id, model_files())
    hub.fault, code, message = FAILS[case]
    with pytest.raises(HubError, match=message) as caught:
        client("pull", repo_id, tmp_path / "out")
    assert caught.value.code == code
    assert caught.value.remedy or code in (66, 69)
    assert client.seconds < 8 and list(tmp_path.iterdir()) == []
    assert not any(path.name in ("evil", "x") for path in client.home.rglob("*"))
    hub.fault = None
    files = client("fetch", repo_id)["files"]
    assert files == {name: sha256(repo.head.files[name]) for name in files}


def test_a_pause_of_more_than_a_minute_is_refused(hub, client, repo_id):
    hub.add(repo_id, model_files())
    hub.fault = fault(faults.status(429, Retry_After="61"), on=ANY)
    with pytest.raises(HubError, match="the Hub is busy") as caught:
        client("fetch", repo_id)
    assert client.seconds < 1 and "in 61 s" in caught.value.remedy
    assert len(hub.seen) == 1


def test_a_transfer_past_its_deadline_is_aborted(hub, new_client, repo_id):
    hub.add(repo_id, model_files())
    hub.fault = fault(faults.trickle, on=LARGE)
    client = new_client(ZOOADAPT_HUB_DEADLINE="0.5", ZOOADAPT_HUB_STALL="30")
    with pytest.raises(HubError, match="took longer than its deadline") as caught:
        client("fetch", repo_id)
    assert caught.value.code == 69 and client.seconds < 4


def test_an_interrupted_transfer_of_a_large_file_resumes(hub, client, repo_id):
    files = model_files() | {"vocab.bin": random.Random(0).randbytes(25_000_000)}
    hub.add(repo_id, files)
    client("fetch", repo_id)
    hub.fault = fault(faults.cut(0.6), on=LARGE, times=1)
    client("fetch", repo_id, names=["vocab.bin"])
    assert [h["range"] for _, _, h in hub.seen if "range" in h] == ["bytes=10485760-"]


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://no-such-host.invalid", "resolv|known|Name"),
        ("https://127.0.0.1:{port}", "SSL"),
        ("no-url", "protocol"),
    ],
)
def test_an_unreachable_hub_is_one_error(hub, new_client, endpoint, message):
    client = new_client(HF_ENDPOINT=endpoint.format(port=hub.server_port))
    with pytest.raises(HubError, match=message) as caught:
        client("fetch", "org/toy")
    assert caught.value.code == 69 and "HF_ENDPOINT" in caught.value.remedy


def test_an_unwritable_cache_is_named(hub, new_client, repo_id, tmp_path):
    hub.add(repo_id, model_files())
    (tmp_path / "file").touch()
    for variable in ("HF_HOME", "ZOOADAPT_CACHE"):
        client = new_client(**{variable: str(tmp_path / "file")})
        with pytest.raises(HubError) as caught:
            client("fetch", repo_id)
        assert caught.value.code in (73, 74) and str(tmp_path / "file") in str(caught.value)


def test_settings_without_a_number_are_usage_errors(hub, new_client):
    client = new_client(ZOOADAPT_HUB_PAUSE="soon")
    with pytest.raises(HubError, match="ZOOADAPT_HUB_PAUSE='soon'") as caught:
        client("fetch", "org/toy")
    assert caught.value.code == 2


def test_after_killed_pulls_the_next_one_is_complete(hub, new_client, tmp_path):
    chance, home = random.Random(0), None
    hub.fault = faults.also(lambda request: time.sleep(0.03), on=ANY, times=faults.ALWAYS)
    fetched = ("config.json", "model.safetensors", "README.md", "LICENSE", "vocab.bin")
    finished = 0
    for k in range(KILLS):
        repo = hub.add(f"org/killed{k}", model_files(k) | {"vocab.bin": chance.randbytes(2**21)})
        expected = {name: sha256(repo.head.files[name]) for name in fetched}
        client = new_client(home)
        home = client.home
        client("cached")
        client.start("pull", repo.name, tmp_path / f"out{k}", names=["vocab.bin"])
        time.sleep(chance.uniform(0.05, 0.9))
        client.kill()
        if (tmp_path / f"out{k}").exists():
            assert whole(tmp_path / f"out{k}") == expected
            finished += 1
        client = new_client(home)
        again = client("pull", repo.name, tmp_path / f"out{k}", names=["vocab.bin"], overwrite=True)
        assert again["files"] == whole(tmp_path / f"out{k}") == expected
        assert client("fetch", repo.name, names=["vocab.bin"], offline=True)["files"] == expected
        client.kill()
    assert finished < KILLS


def whole(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.name != "zooadapt.lock.json")
    return {path.name: sha256(path.read_bytes()) for path in files}


def test_abandoned_partial_files_are_removed_and_running_ones_spared(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    client("fetch", repo_id)
    blobs = client.cached(repo_id, "config.json").parent
    abandoned, running = blobs / "a.0123abcd.incomplete", blobs / "b.0123abcd.incomplete"
    for path in (abandoned, running):
        path.write_bytes(b"half")
    os.utime(abandoned, (1, 1))
    repo.commit(model_files(seed=2))
    client("fetch", repo_id)
    assert running.exists() and not abandoned.exists()


def test_pauses_double_with_jitter_and_end_after_five_tries(monkeypatch):
    """With another clock."""
    from zooadapt.zoo.hub import client as calls
    from zooadapt.zoo.hub.transport import TemporaryFailure

    monkeypatch.setenv("ZOOADAPT_HUB_PAUSE", "1")
    runs = []
    for _ in range(2):
        pauses, tries = [], []

        def fail(tries=tries):
            tries.append(1)
            raise TemporaryFailure("busy", retry_after=0.0)

        monkeypatch.setattr(calls.time, "sleep", pauses.append)
        with pytest.raises(UnavailableError, match="tried 5 times"):
            calls.call(fail, repo="org/x")
        assert len(tries) == 5 and len(pauses) == 4
        assert all(2**k / 2 <= pause <= 2**k for k, pause in enumerate(pauses))
        runs.append(pauses)
    assert runs[0] != runs[1]
