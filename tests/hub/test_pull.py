"""Sources from the Hub: which files are fetched, recorded and checked, and when."""

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


def test_only_required_files_are_fetched_each_with_its_hash(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    source = client("fetch", repo_id)
    assert source["files"] == {name: sha256(repo.head.files[name]) for name in FETCHED}
    assert source["revision"] == repo.head.oid and source["license"] == "mit"
    weights = read_weights(Path(source["folder"]))
    assert all(torch.equal(weights[name], tensor) for name, tensor in tensors().items())
    for name in repo.head.files.keys() - FETCHED:
        assert hub.count("GET|HEAD", name) == 0 and client.cached(repo_id, name) is None


def test_further_files_of_a_family_are_fetched(hub, client, repo_id):
    further = {"vocab.json": b"{}", "sub/vocab.json": b"[]", "sub/deeper/vocab.json": b"{}"}
    hub.add(repo_id, model_files() | further | {"sub/other.json": b"{}"})
    names = [*further, "merges.txt"]
    files = client("fetch", repo_id, names=names)["files"]
    assert files.keys() == FETCHED | {"vocab.json", "sub/vocab.json"}
    assert client("fetch", repo_id, names=names, offline=True)["files"] == files


def test_a_resolved_commit_needs_no_further_request(hub, client, repo_id):
    repo = hub.add(repo_id, model_files(seed=1))
    first = client("resolve", repo_id)
    repo.commit(model_files(seed=2))
    assert client("fetch", repo_id, revision=first)["revision"] == first
    assert client("fetch", repo_id)["revision"] == repo.head.oid != first
    hub.seen.clear()
    client("fetch", repo_id, revision=first)
    assert hub.seen == []


def test_all_shards_of_a_model_are_fetched(hub, client, repo_id):
    files, places = model_files(), {}
    del files["model.safetensors"]
    for k, (name, tensor) in enumerate(tensors().items()):
        files[f"model-{k}.safetensors"] = save({name: tensor})
        places[name] = f"model-{k}.safetensors"
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    hub.add(repo_id, files)
    source = client("fetch", repo_id)
    assert {"model-0.safetensors", "model-1.safetensors"} <= source["files"].keys()
    assert read_weights(Path(source["folder"])).keys() == tensors().keys()


@pytest.mark.parametrize("license", [None, "apache-2.0"])
def test_the_licence_is_the_one_the_source_states(hub, client, repo_id, license):
    hub.add(repo_id, model_files(license=license))
    assert client("fetch", repo_id)["license"] == license


def test_offline_opens_no_connection_and_needs_none(hub, client, new_client, repo_id):
    hub.add(repo_id, model_files())
    online = client("fetch", repo_id)
    hub.seen.clear()
    for offline in (client, new_client(client.home, HF_HUB_OFFLINE="1")):
        options = {"offline": True} if offline is client else {}
        assert offline("fetch_config", repo_id, **options)["architecture"] == "toy"
        assert offline.events == []
        assert offline("fetch", repo_id, **options) == online
        assert offline.events == [] and hub.seen == []
    with pytest.raises(HubError, match="not in the cache, and this run is offline") as caught:
        client("fetch", "org/other", offline=True)
    assert caught.value.code == 69 and "zooadapt pull org/other" in caught.value.remedy
    assert client.events == [] and hub.seen == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "html", "empty"])
def test_a_damaged_file_is_refused_offline_and_replaced_online(hub, client, repo_id, name, damage):
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


def test_random_damage_of_the_cache_is_detected(hub, client, repo_id):
    """A flipped bit or a truncation at random places of random files."""
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


def test_files_of_other_tools_are_checked_before_their_first_use(hub, client, repo_id):
    repo = hub.add(repo_id, model_files())
    client("fetch", repo_id)
    shutil.rmtree(client.home / "zoo")
    path = client.cached(repo_id, "model.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    expected = sha256(repo.head.files["model.safetensors"])
    assert client("fetch", repo_id)["files"]["model.safetensors"] == expected
    assert sha256(path.read_bytes()) == expected


def test_a_pulled_folder_needs_no_network(hub, client, repo_id, tmp_path):
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


def test_a_changed_pulled_folder_is_refused(hub, client, repo_id, tmp_path):
    hub.add(repo_id, model_files())
    out = tmp_path / "pulled"
    client("pull", repo_id, out)
    (out / "config.json").write_text("{}")
    for use in (zoohub.fetch, zoohub.fetch_config):
        with pytest.raises(DataError, match="is not what was pulled") as caught:
            use(str(out))
        assert f"zooadapt pull {repo_id}@" in caught.value.remedy


def test_pull_refuses_an_existing_output_before_any_request(hub, client, repo_id, tmp_path):
    hub.add(repo_id, model_files())
    client("pull", repo_id, tmp_path / "pulled")
    hub.seen.clear()
    with pytest.raises(HubError, match="exists") as caught:
        client("pull", repo_id, tmp_path / "pulled")
    assert caught.value.code == 73 and hub.seen == []
    client("pull", repo_id, tmp_path / "pulled", overwrite=True)


def test_cached_commits_are_listed(hub, client, repo_id):
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

    def fetch_all(repo):
        for client in clients:
            client.start("fetch", repo)
        return [client.result() for client in clients]

    sources = fetch_all(repo_id)
    assert sources == [sources[0]] * 8
    assert sources[0]["files"]["model.safetensors"] == expected
    fetch_all(other.name)
    path = first.cached(other.name, "model.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    replaced = {source["files"]["model.safetensors"] for source in fetch_all(other.name)}
    assert replaced == {sha256(other.head.files["model.safetensors"])}


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


def test_the_token_goes_to_the_hub_s_host_alone(hub, owner):
    hub.add("me/private", model_files(seed=5), private=True)
    owner("fetch", "me/private", revision=hub.repos["me/private"].head.oid)
    hosts = {headers["host"].split(":")[0] for _, _, headers in hub.seen}
    authorized = {h["host"].split(":")[0] for _, _, h in hub.seen if "authorization" in h}
    assert hosts == {"127.0.0.1", "localhost"} and authorized == {"127.0.0.1"}


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "../main", "a b"])
def test_a_missing_revision_is_named(hub, client, repo_id, revision):
    hub.add(repo_id, model_files())
    with pytest.raises(HubError, match=f"'{repo_id}' has no such revision") as caught:
        client("fetch", repo_id, revision=revision)
    assert caught.value.code == 66


@pytest.mark.parametrize("location", ["org/..", "org/a--b", "a/b/c", "-x/y", "org/" + "x" * 100])
def test_invalid_repo_ids_are_refused_without_a_request(hub, client, location):
    with pytest.raises(HubError) as caught:
        client("fetch", location)
    assert caught.value.code in (2, 66) and hub.seen == []
