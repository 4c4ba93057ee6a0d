"""Sources from the Hub: what is fetched, what is recorded, what is checked, and when."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from zooadapt.errors import DataError
from zooadapt.runtime.model_files import read_weights
from zooadapt.zoo import hub as zoohub

from .client import HubError, model_files, tensors
from .server import sha256

FETCHED = {"config.json", "model.safetensors", "README.md", "LICENSE"}


def test_only_what_is_needed_is_fetched_and_all_of_it_is_named_by_hash(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    found = client("fetch", repo_id)
    assert found["files"] == {name: sha256(repo.head.files[name]) for name in FETCHED}
    assert found["revision"] == repo.head.oid and found["license"] == "mit"
    read = read_weights(Path(found["folder"]))
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors().items())
    for name in repo.head.files.keys() - FETCHED:
        assert hub.count("GET|HEAD", name) == 0 and client.cached(repo_id, name) is None


def test_names_that_a_family_needs_are_fetched_where_they_are(hub, client, repo_id):
    further = {"vocab.json": b"{}", "sub/vocab.json": b"[]", "sub/deeper/vocab.json": b"{}"}
    hub.add(repo_id, model_files() | further | {"sub/other.json": b"{}"})
    names = [*further, "merges.txt"]
    found = client("fetch", repo_id, names=names)
    assert found["files"].keys() == FETCHED | {"vocab.json", "sub/vocab.json"}
    assert client("fetch", repo_id, names=names, offline=True)["files"] == found["files"]


def test_a_revision_is_resolved_once_and_then_means_the_same(hub, client, repo_id):
    repo = hub.add(repo_id, model_files(seed=1))
    first = client("resolve", repo_id)
    repo.commit(model_files(seed=2))
    assert client("fetch", repo_id, revision=first)["revision"] == first
    assert client("fetch", repo_id)["revision"] == repo.head.oid != first
    hub.seen.clear()
    client("fetch", repo_id, revision=first)
    assert hub.seen == []


def test_parts_of_a_model_are_followed_inside_the_repo(hub, client, repo_id):
    files, places = model_files(), {}
    del files["model.safetensors"]
    for k, (name, tensor) in enumerate(tensors().items()):
        files[f"model-{k}.safetensors"] = save({name: tensor})
        places[name] = f"model-{k}.safetensors"
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    hub.add(repo_id, files)
    found = client("fetch", repo_id)
    assert {"model-0.safetensors", "model-1.safetensors"} <= found["files"].keys()
    assert read_weights(Path(found["folder"])).keys() == tensors().keys()


@pytest.mark.parametrize("license", [None, "apache-2.0"])
def test_a_licence_is_what_the_source_says_and_nothing_else(hub, client, repo_id, license):
    hub.add(repo_id, model_files(license=license))
    assert client("fetch", repo_id)["license"] == license


def test_offline_opens_no_connection_and_needs_none(hub, client, new_client, repo_id):
    hub.add(repo_id, model_files())
    online = client("fetch", repo_id)
    hub.seen.clear()
    for offline in (client, new_client(client.home, HF_HUB_OFFLINE="1")):
        asked = {"offline": True} if offline is client else {}
        assert offline("fetch_config", repo_id, **asked)["architecture"] == "toy"
        assert offline.events == []
        assert offline("fetch", repo_id, **asked) == online
        assert offline.events == [] and hub.seen == []
    with pytest.raises(HubError, match="not in the cache, and this is offline") as caught:
        client("fetch", "org/other", offline=True)
    assert caught.value.code == 69 and "zooadapt pull org/other" in caught.value.remedy
    assert client.events == [] and hub.seen == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "html", "empty"])
def test_a_damaged_cache_is_found_offline_and_mended_online(hub, client, repo_id, name, damage):
    hub.add(repo_id, model_files())
    before = client("fetch", repo_id)
    path = client.cached(repo_id, name)
    good = path.read_bytes()
    middle = len(good) // 2
    path.write_bytes({
        "flip": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "truncate": good[:middle], "empty": b"",
        "html": b"<!doctype html>".ljust(len(good), b"x")[: len(good)],
    }[damage])  # fmt: skip
    with pytest.raises(HubError, match=f"the cached '{name}' of '{repo_id}' is damaged") as caught:
        client("fetch", repo_id, offline=True)
    assert caught.value.code == 65
    assert client("fetch", repo_id) == before
    assert path.read_bytes() == good
    assert client("fetch", repo_id, offline=True) == before


def test_damage_anywhere_in_the_cache_is_found(hub, client, repo_id):
    """A bit that flipped, or an end that is missing, in any place of any file."""
    hub.add(repo_id, model_files())
    before, chance = client("fetch", repo_id), random.Random(0)
    for _ in range(50):
        name = chance.choice(sorted(FETCHED))
        path = client.cached(repo_id, name)
        good = path.read_bytes()
        place, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
        flipped = good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :]
        path.write_bytes(chance.choice([flipped, good[:place]]))
        with pytest.raises(HubError, match=f"the cached '{name}' .* is damaged"):
            client("fetch", repo_id, offline=True)
        assert client("fetch", repo_id) == before and path.read_bytes() == good


def test_what_another_tool_left_in_the_cache_is_checked_before_its_first_use(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    client("fetch", repo_id)
    shutil.rmtree(client.home / "zoo")
    path = client.cached(repo_id, "model.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    expected = sha256(repo.head.files["model.safetensors"])
    assert client("fetch", repo_id)["files"]["model.safetensors"] == expected
    assert sha256(path.read_bytes()) == expected


def test_pull_makes_a_folder_that_needs_no_network(hub, client, repo_id, tmp_path):
    repo = hub.add(repo_id, model_files())
    out = tmp_path / "pulled"
    client("pull", repo_id, out)
    lock = json.loads((out / "zooadapt.lock.json").read_text())
    assert lock["location"] == repo_id and lock["revision"] == repo.head.oid
    assert {path.name for path in out.iterdir()} == FETCHED | {"zooadapt.lock.json"}
    source = zoohub.fetch(str(out))
    assert (source.location, source.revision) == (repo_id, repo.head.oid)
    assert source.files == lock["files"] and source.license == "mit"
    assert read_weights(out).keys() == tensors().keys()


def test_a_pulled_folder_that_was_changed_is_refused(hub, client, repo_id, tmp_path):
    hub.add(repo_id, model_files())
    out = tmp_path / "pulled"
    client("pull", repo_id, out)
    (out / "config.json").write_text("{}")
    for use in (zoohub.fetch, zoohub.fetch_config):
        with pytest.raises(DataError, match="is not what was pulled") as caught:
            use(str(out))
        assert f"zooadapt pull {repo_id}@" in caught.value.remedy


def test_pull_refuses_an_output_that_exists_before_it_asks_the_hub(hub, client, repo_id, tmp_path):
    hub.add(repo_id, model_files())
    client("pull", repo_id, tmp_path / "pulled")
    hub.seen.clear()
    with pytest.raises(HubError, match="exists") as caught:
        client("pull", repo_id, tmp_path / "pulled")
    assert caught.value.code == 73 and hub.seen == []
    client("pull", repo_id, tmp_path / "pulled", overwrite=True)


def test_what_is_cached_is_listed(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    client("fetch", repo_id)
    (entry,) = (entry for entry in client("cached") if entry["location"] == repo_id)
    assert entry["revision"] == repo.head.oid and set(entry["files"]) == FETCHED
    assert entry["bytes"] == sum(len(repo.head.files[name]) for name in FETCHED)
    assert entry["license"] == "mit"


@pytest.mark.parametrize("locks", [{}, {"NO_LOCKS": "1"}], ids=["locks", "no locks"])
def test_eight_processes_share_one_cache(hub, new_client, repo_id, locks):
    expected = sha256(hub.add(repo_id, model_files()).head.files["model.safetensors"])
    other = hub.add(f"{repo_id}-2", model_files(seed=2))
    first = new_client(**locks)
    clients = [first, *(new_client(first.home, **locks) for _ in range(7))]

    def ask_all(which):
        for client in clients:
            client.ask("fetch", which)
        return [client.answer() for client in clients]

    answers = ask_all(repo_id)
    assert answers == [answers[0]] * 8
    assert answers[0]["files"]["model.safetensors"] == expected
    ask_all(other.name)
    path = first.cached(other.name, "model.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    mended = {answer["files"]["model.safetensors"] for answer in ask_all(other.name)}
    assert mended == {sha256(other.head.files["model.safetensors"])}


def test_private_and_gated_repos_need_the_right_token(hub, client, owner, new_client):
    hub.add("me/private", model_files(), private=True)
    hub.add("org/gated", model_files(), gated=True)
    assert owner("fetch", "me/private")["files"]
    refusals = [
        (client, "me/private", 77, "does not exist on the Hub or is private", "hf auth login"),
        (client, "org/gated", 77, "is gated", f"{hub.url}/org/gated"),
        (owner, "org/gated", 77, "is gated", f"{hub.url}/org/gated"),
        (owner, "org/typo", 66, "does not exist on the Hub or is private", "check the name"),
        (client, "org/typo", 77, "does not exist on the Hub or is private", "check the name"),
        (new_client(HF_TOKEN="hf_revoked"), "org/x", 77, "Invalid credentials", "hf auth login"),
    ]
    for who, repo, code, message, remedy in refusals:
        with pytest.raises(HubError, match=message) as caught:
            who("fetch", repo)
        assert caught.value.code == code and remedy in caught.value.remedy, repo
        assert caught.value.thing == repo


def test_the_token_stays_at_home(hub, owner):
    hub.add("me/private", model_files(seed=5), private=True)
    owner("fetch", "me/private", revision=hub.repos["me/private"].head.oid)
    hosts = {headers["host"].split(":")[0] for _, _, headers in hub.seen}
    carried = {h["host"].split(":")[0] for _, _, h in hub.seen if "authorization" in h}
    assert hosts == {"127.0.0.1", "localhost"} and carried == {"127.0.0.1"}


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "../main", "a b"])
def test_a_missing_revision_is_named(hub, client, repo_id, revision):
    hub.add(repo_id, model_files())
    with pytest.raises(HubError, match=f"'{repo_id}' has no such revision") as caught:
        client("fetch", repo_id, revision=revision)
    assert caught.value.code == 66


@pytest.mark.parametrize("location", ["org/..", "org/a--b", "a/b/c", "-x/y", "org/" + "x" * 100])
def test_what_cannot_be_a_repo_is_refused_without_asking(hub, client, location):
    with pytest.raises(HubError) as caught:
        client("fetch", location)
    assert caught.value.code in (2, 66) and hub.seen == []
