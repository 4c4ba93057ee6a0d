"""Publishing: which files leave the machine, for which repository, and how often."""

import getpass
import json
import random
import time

import pytest
import yaml

from zooadapt.errors import DataError
from zooadapt.zoo.hub import card, privacy

from . import faults
from .client import KILLS, TOKEN, HubError, model_files, write_export
from .faults import fault
from .server import is_large, sha256

PUBLISHED = {"model.safetensors", "config.json", "README.md", "report.json", "LICENSE"}
COMMIT = r"POST /api/models/me/\w+/commit"


@pytest.fixture
def model(tmp_path):
    return write_export(tmp_path / "model")


@pytest.fixture
def mine(repo_id):
    return repo_id.replace("org/", "me/")


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_first_push_makes_a_private_repo_with_one_commit(hub, owner, mine, model):
    result = owner("push", model, mine)
    repo = hub.repos[mine]
    assert repo.private and not result["public"] and result["creates_repo"]
    assert len(repo.branches["main"]) == 2 and repo.head.oid == result["commit"]
    assert repo.head.files.keys() == PUBLISHED | {".gitattributes"}
    for name in PUBLISHED - {"README.md"}:
        assert repo.head.files[name] == (model / name).read_bytes()
    assert {f["name"]: f["sha256"] for f in result["files"]} == {
        name: sha256(repo.head.files[name]) for name in PUBLISHED
    }
    assert result["url"] == f"{hub.url}/{mine}" and {f["change"] for f in result["files"]} == {
        "new"
    }
    message = repo.head.title
    assert "toy adapted to data da7ada7ada7a, test accuracy 0.91" in message


def test_a_commit_names_the_score_of_the_models_task(hub, owner, mine, model):
    config = json.loads((model / "config.json").read_text())
    config["zooadapt"] |= {"task": {"name": "regression", "scales": [{"log": True}], "widths": [1]}}
    config["zooadapt"]["scores"] = {"val": None, "test": {"r2": 0.625, "mae": 3.0, "n": 80}}
    (model / "config.json").write_text(json.dumps(config))
    owner("push", model, mine)
    assert "adapted to data da7ada7ada7a, test R2 0.625 (" in hub.repos[mine].head.title


def test_the_card_names_its_repo_and_keeps_its_measurements(hub, owner, mine, model):
    owner("push", model, mine)
    text = hub.repos[mine].head.files["README.md"].decode()
    assert f"hf-hub:{mine}" in text and card.FOLDER not in text
    assert front(text)["model-index"][0]["name"] == mine.split("/")[1]
    assert front(text)["license"] == "mit" and front(text)["library_name"] == "timm"


def test_the_same_push_again_changes_nothing(hub, owner, mine, model):
    first = owner("push", model, mine)
    again = owner("push", model, mine)
    assert again["commit"] == first["commit"] and len(hub.repos[mine].branches["main"]) == 2
    assert {file["change"] for file in again["files"]} == {"same"} and not again["card_diff"]
    assert not again["creates_repo"]


def test_an_update_is_one_commit_and_keeps_people_s_text(hub, owner, mine, model):
    owner("push", model, mine)
    repo = hub.repos[mine]
    text = repo.head.files["README.md"].decode()
    text = text.replace("license: mit", "license: cc-by-4.0\nlanguage: de").replace(
        card.BEGIN, "# My flowers\n\nHands off <!-- mine -->\n\n" + card.BEGIN
    )
    text = text.replace("- zooadapt\n", "- zooadapt\n- flowers\n") + "\n## Thanks\n\nto all.\n"
    repo.commit({"README.md": text.encode(), "photo.jpg": b"jpeg"}, "by hand")
    write_export(model, seed=7)
    result = owner("push", model, mine)
    after = repo.head.files["README.md"].decode()
    assert len(repo.branches["main"]) == 4 and repo.head.files["photo.jpg"] == b"jpeg"
    for passage in ("# My flowers\n\nHands off <!-- mine -->", "## Thanks\n\nto all.\n"):
        assert passage in after
    assert "seed 7" in after and "seed 0" not in after and after.count(card.BEGIN) == 1
    assert front(after)["language"] == "de" and front(after)["license"] == "cc-by-4.0"
    assert front(after)["tags"] == ["flowers", "zooadapt"]
    changes = {file["name"]: file["change"] for file in result["files"]}
    assert changes["model.safetensors"] == "changed" and changes["LICENSE"] == "same"
    assert "+# 3 classes, seed 7" in result["card_diff"] and "-# 3 cl" in result["card_diff"]


def test_a_foreign_repo_is_overwritten_only_on_request(hub, owner, mine, model):
    files = {"README.md": b"# By hand\n", "pytorch_model.bin": b"x", ".gitattributes": b""}
    repo = hub.add(mine, files)
    with pytest.raises(HubError, match="holds README.md and was not published by") as caught:
        owner("push", model, mine)
    assert caught.value.code == 65 and "--overwrite-repo" in caught.value.remedy
    assert len(repo.branches["main"]) == 1 and hub.count("POST|PUT", "") == 0
    owner("push", model, mine, overwrite_repo=True)
    text = repo.head.files["README.md"].decode()
    assert "# By hand" in text and card.is_ours(text) and front(text)["license"] == "mit"


def test_an_empty_repo_keeps_its_visibility(hub, owner, mine, model):
    hub.add(mine, {".gitattributes": b""}, private=False)
    result = owner("push", model, mine)
    assert result["public"] and not hub.repos[mine].private


def test_a_dry_run_needs_no_token_and_sends_nothing(hub, client, owner, mine, model):
    planned = client("push", model, mine, dry_run=True)
    assert planned["commit"] is None and mine not in hub.repos
    assert {file["name"] for file in planned["files"]} == PUBLISHED
    assert f"hf-hub:{mine}" in planned["card"] and "+# 3 classes" in planned["card_diff"]
    assert hub.count("POST|PUT", "") == 0
    hub.seen.clear()
    unseen = client("push", model, mine, dry_run=True, offline=True)
    assert {file.pop("change") for file in unseen["files"]} == {"unknown"}
    files = [{k: v for k, v in file.items() if k != "change"} for file in planned["files"]]
    facts = {"files": files, "unseen": "this run is offline", "creates_repo": False}
    assert unseen == planned | facts
    assert hub.seen == [] and client.events == []
    done = owner("push", model, mine)
    assert done["files"] == planned["files"] and done["card"] == planned["card"]


def test_a_pull_request_is_opened_once_beside_the_branch(hub, owner, mine, model):
    owner("push", model, mine)
    before = hub.repos[mine].head
    write_export(model, seed=8)
    result = owner("push", model, mine, create_pr=True)
    repo = hub.repos[mine]
    assert result["pull_request"] == f"{hub.url}/{mine}/discussions/1"
    assert repo.head is before and repo.branches["refs/pr/1"][-1].oid == result["commit"]
    again = owner("push", model, mine, create_pr=True)
    assert again["pull_request"] == result["pull_request"] and len(repo.requests) == 1


@pytest.mark.parametrize("public", [True, False])
def test_a_model_of_unknown_licence_stays_private(hub, owner, mine, tmp_path, public):
    model = write_export(tmp_path / "unlicensed", license=None)
    if not public:
        owner("push", model, mine)
        assert "license" not in front(hub.repos[mine].head.files["README.md"].decode())
        return
    with pytest.raises(HubError, match="licence .* is not known") as caught:
        owner("push", model, mine, public=True)
    assert caught.value.code == 2 and "--license" in caught.value.remedy
    assert mine not in hub.repos
    owner("push", model, mine, public=True, license="cc-by-4.0")
    assert not hub.repos[mine].private
    assert front(hub.repos[mine].head.files["README.md"].decode())["license"] == "cc-by-4.0"


def test_a_licence_other_is_linked(hub, owner, mine, tmp_path):
    base = {"base_model": "org/Toy", "base_model_revision": "0" * 40}
    owner("push", write_export(tmp_path / "m", license="other", **base), mine, public=True)
    facts = front(hub.repos[mine].head.files["README.md"].decode())
    assert facts["license"] == "other" and facts["license_name"] == "org-toy-license"
    assert facts["license_link"] == f"https://huggingface.co/org/Toy/tree/{'0' * 40}"


def test_a_licence_other_without_name_and_link_stays_private(hub, owner, mine, tmp_path):
    model = write_export(tmp_path / "m", license="other")
    with pytest.raises(HubError, match="no name and link") as caught:
        owner("push", model, mine, public=True)
    assert caught.value.code == 2 and "license_name and license_link" in caught.value.remedy
    assert mine not in hub.repos
    keys = {"license_name": "toy-1.0", "license_link": "LICENSE"}
    owner("push", write_export(tmp_path / "m", license="other", **keys), mine, public=True)
    assert front(hub.repos[mine].head.files["README.md"].decode()).items() >= keys.items()


def test_a_damaged_copy_of_the_remote_card_is_not_merged(hub, owner, mine, model):
    owner("push", model, mine)
    owner("push", model, mine, dry_run=True)
    owner.cached(mine, "README.md").write_bytes(b"# spoilt")
    again = owner("push", model, mine)
    assert {file["change"] for file in again["files"]} == {"same"}


def test_the_licence_is_the_source_s_own(hub, owner, mine, tmp_path):
    model = write_export(tmp_path / "other", license="gpl-3.0")
    owner("push", model, mine, public=True)
    assert front(hub.repos[mine].head.files["README.md"].decode())["license"] == "gpl-3.0"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"repo": "flowers"}, 2, "not a repository's name"),
        ({"repo": "me/../x"}, 2, "not a repository's name"),
        ({"license": "My Licence!"}, 2, "short name"),
        ({"offline": True}, 69, "needs a connection"),
        ({"repo": "other/flowers"}, 77, "rights to create"),
    ],
)
def test_invalid_pushes_are_refused(hub, owner, mine, model, options, code, message):
    repo = options.pop("repo", mine)
    with pytest.raises(HubError, match=message) as caught:
        owner("push", model, repo, **options)
    assert caught.value.code == code and repo not in hub.repos


def test_a_push_needs_a_token_with_write_access(hub, client, new_client, mine, model):
    with pytest.raises(HubError, match="needs a Hub token") as caught:
        client("push", model, mine)
    assert caught.value.code == 77 and caught.value.remedy == "hf auth login" and hub.seen == []
    hub.tokens["hf_reader"] = "reader"
    hub.add(mine, {".gitattributes": b""})
    with pytest.raises(HubError, match="rights to write") as caught:
        new_client(HF_TOKEN="hf_reader")("push", model, mine)
    assert caught.value.code == 77


def test_names_of_samples_are_not_published(hub, owner, mine, model):
    report = {"data": {"held_out": ["patients/doe.png"], "samples": {"val": 1}}, "seed": 0}
    (model / "report.json").write_text(json.dumps(report))
    owner("push", model, mine)
    published = json.loads(hub.repos[mine].head.files["report.json"])
    assert published == {"data": {"samples": {"val": 1}}, "seed": 0}
    assert json.loads((model / "report.json").read_text()) == report


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("report.json", '{"note": "hf_abcdefghijklmnopqrstuv"}', "a Hub token"),
        ("report.json", f'{{"note": "{TOKEN}"}}', "your Hub token"),
        ("README.md", "made from {home}/photos", "the path of your home folder"),
        ("LICENSE", "see /home/somebody/notes", "a path in a home folder"),
        ("config.json", '{"zooadapt": {"out": "C:\\\\Users\\\\me\\\\x"}}', "a path in a home"),
        ("report.json", '{"out": "/Users/me/flowers"}', "a path in a home folder"),
        ("README.md", "[this](file:///home/me/flowers/a.png)", "a path in a home folder"),
        ("README.md", "https://huggingface.co/me?from=/home/me/x", "a path in a home folder"),
        ("README.md", "https://x/y:/home/me/flowers", "a path in a home folder"),
        ("README.md", "https://x/y /srv/{user}/flowers", "your user name in a path"),
    ],
)
def test_private_data_is_not_published(hub, owner, mine, model, name, text, what):
    for field, value in (("{home}", str(owner.home)), ("{user}", getpass.getuser())):
        text = text.replace(field, value)
    (model / name).write_text("\n" + text)
    with pytest.raises(HubError, match=f"'{name}' holds {what}") as caught:
        owner("push", model, mine)
    assert caught.value.code == 65 and hub.count("POST|PUT", "") == 0
    assert TOKEN not in str(caught.value)
    (model / name).unlink()  # a later test searches all folders for tokens


def test_addresses_of_the_user_s_own_repos_are_published(hub, new_client, mine, model):
    """A model adapted from the user's own model, with a local user of the same name."""
    with (model / "README.md").open("a") as file:
        file.write("\nfrom https://huggingface.co/alice/toy/tree/main and https://x/home/alice/y\n")
    new_client(HF_TOKEN=TOKEN, LOGNAME="alice")("push", model, mine)
    assert "alice/toy" in hub.repos[mine].head.files["README.md"].decode()


def test_privacy_is_checked_for_a_user_without_name_or_home(monkeypatch):
    """As in a container without an entry for the user's number."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(variable, raising=False)

    def nobody(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    privacy.check({"README.md": b"a // b ~ c /srv/x/y"})
    with pytest.raises(DataError, match="a path in a home folder"):
        privacy.check({"README.md": b"/home/me/x"})


def test_private_names_of_tensors_are_not_published(hub, owner, mine, model):
    from safetensors.torch import save_file
    from torch import ones

    save_file({"/home/me/x": ones(1)}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(HubError, match="'model.safetensors' holds a path"):
        owner("push", model, mine)


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
def test_numbers_that_spell_a_token_are_published(hub, owner, mine, model, name):
    from safetensors.torch import save_file
    from torch import frombuffer, uint8

    (model / name).parent.mkdir(exist_ok=True)
    numbers = frombuffer(bytearray(b" hf_abcdefghijklmnopqrstuv "), dtype=uint8)
    save_file({"weight": numbers}, model / name, {"format": "pt"})
    owner("push", model, mine, names=[name])
    assert name in hub.repos[mine].head.files


@pytest.mark.parametrize("name", ["README.md", "report.json", "model.safetensors"])
def test_links_are_not_published(hub, owner, mine, model, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes((model / name).read_bytes())
    (model / name).unlink()
    (model / name).symlink_to(secret)
    with pytest.raises(HubError, match="is not a regular file") as caught:
        owner("push", model, mine)
    assert caught.value.thing == name and hub.seen == []


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_an_incomplete_export_is_refused(hub, owner, mine, model, name):
    (model / name).unlink()
    with pytest.raises(HubError, match=name) as caught:
        owner("push", model, mine)
    assert caught.value.code in (65, 66) and hub.seen == []


def test_a_folder_of_another_tool_is_refused(hub, owner, mine, tmp_path):
    for name, data in model_files().items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(HubError, match="not made by zooadapt adapt"):
        owner("push", tmp_path, mine)


@pytest.mark.parametrize("facts", [[1], "x", {"source": "x"}, {"scores": [1]},
                                   {"scores": {"test": "x"}}])  # fmt: skip
def test_config_entries_of_a_wrong_type_are_named(hub, owner, mine, tmp_path, facts):
    folder = write_export(tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text()) | {"zooadapt": facts}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(HubError, match="expected an object") as caught:
        owner("push", folder, mine)
    assert caught.value.code == 65 and mine not in hub.repos


@pytest.mark.parametrize("text", ["---\n- a\n---\n", "---\n[\n---\n", "---\n&a [*a]\n---\n"])
def test_an_unreadable_card_is_named(hub, owner, mine, model, text):
    (model / "README.md").write_text(text)
    with pytest.raises(HubError, match="front matter of 'README.md'") as caught:
        owner("push", model, mine)
    assert caught.value.code == 65


# Faults


RECOVERS = {
    "500 at every step, four times": fault(faults.status(500), times=4),
    "503 for the upload": fault(faults.status(503), on="PUT", times=4),
    "reset in the upload": fault(faults.reset, on="PUT", times=4),
    "no answer to the upload": fault(faults.lose_answer, on="PUT", times=2),
    "500 for the commit": fault(faults.status(500), on=COMMIT, times=4),
    "the commit's answer is lost": fault(faults.lose_answer, on=COMMIT, times=1),
    "the commit's answer is an error": fault(
        lambda request: (faults.answered(lambda raw: b"")(request), request.reply(504)),
        on=COMMIT, times=1),
    "the answer of the creation is lost": fault(
        faults.lose_answer, on="POST /api/repos/create", times=1),
    "429 for the preparations": fault(faults.status(429), on="POST .*preupload", times=2),
}  # fmt: skip

FAILS = {
    "500 for every commit": (fault(faults.status(500), on=COMMIT), 69, "tried 5 times"),
    "every upload is reset": (fault(faults.reset, on="PUT"), 69, "tried 5 times"),
    "every answer is a page": (fault(faults.page), 69, "not a Hub"),
    "no right to commit": (
        fault(lambda request: request.refuse(403, "", "read only"), on=COMMIT), 77, "read only"),
    "the card is refused": (
        fault(lambda request: request.json({"errors": [{"message": "bad tag"}]}, 400),
              on="POST /api/validate-yaml"), 65, "bad tag"),
    "somebody committed in between": (
        fault(lambda request: request.refuse(412, "", "A commit has happened since."), on=COMMIT),
        75, "changed meanwhile"),
    "the upload is refused": (fault(faults.status(400), on="PUT"), 65, "refuses"),
    "the store says no": (
        fault(faults.value({"objects": [{"oid": "x", "size": 1, "error": {
            "code": 422, "message": "too big"}}]}), on="POST .*batch"), 69, "too big"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECOVERS)
def test_a_temporary_fault_ends_in_one_commit(hub, owner, mine, model, case):
    hub.fault = RECOVERS[case]
    result = owner("push", model, mine)
    repo = hub.repos[mine]
    assert [commit.title == result["message"] for commit in repo.branches["main"]] == [False, True]
    assert repo.head.oid == result["commit"] and repo.head.files.keys() > PUBLISHED


@pytest.mark.parametrize("case", FAILS)
def test_a_permanent_fault_changes_nothing(hub, owner, mine, model, case):
    owner("push", model, mine)
    repo = hub.repos[mine]
    write_export(model, seed=9)
    hub.fault, code, message = FAILS[case]
    with pytest.raises(HubError, match=message) as caught:
        owner("push", model, mine)
    assert caught.value.code == code and len(repo.branches["main"]) == 2
    hub.fault = None
    owner("push", model, mine)
    assert len(repo.branches["main"]) == 3


@pytest.mark.parametrize("when", ["GET /me/.*README", "POST .*validate-yaml", "PUT", COMMIT])
def test_a_repo_that_changes_meanwhile_stays_as_changed(hub, owner, mine, model, when):
    owner("push", model, mine)
    repo = hub.repos[mine]
    write_export(model, seed=9)
    hub.fault = faults.also(lambda request: repo.commit({"x": b"new"}, "by another"), on=when)
    with pytest.raises(HubError, match="moved on|changed meanwhile") as caught:
        owner("push", model, mine)
    assert caught.value.code == 75 and "again" in caught.value.remedy
    assert [c.title for c in repo.branches["main"]][2:] == ["by another"]
    owner("push", model, mine)
    assert len(repo.branches["main"]) == 4 and repo.head.files["x"] == b"new"


def test_a_stalled_upload_is_aborted(hub, owner, mine, model):
    """More bytes than the system buffers, so that the sender has to wait. The system wakes a sender
    when a third of its buffer is free: a trickle is a stall."""
    data = random.Random(0).randbytes(24_000_000)
    header = b'{"a":{"dtype":"U8","shape":[24000000],"data_offsets":[0,24000000]}}'
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    hub.early = fault(faults.read_slowly, on="PUT")
    with pytest.raises(HubError, match="tried 5 times") as caught:
        owner("push", model, mine)
    assert caught.value.code == 69 and owner.seconds < 30
    assert len(hub.repos[mine].branches["main"]) == 1


def test_the_stored_files_are_compared_with_those_sent(hub, owner, mine, model):
    owner("push", model, mine)
    write_export(model, seed=9)

    def spoil(request):
        for oid, data in hub.large.items():
            hub.large[oid] = bytes(len(data))

    hub.fault = faults.also(spoil, on=COMMIT)
    with pytest.raises(HubError, match="not what was sent") as caught:
        owner("push", model, mine)
    assert caught.value.code == 65


def test_killed_pushes_and_their_reruns_end_in_one_commit(hub, new_client, tmp_path):
    chance, model, mine = random.Random(1), tmp_path / "model", "me/killed"
    hub.fault = faults.also(lambda request: time.sleep(0.04), on="", times=faults.ALWAYS)
    client = new_client(HF_TOKEN=TOKEN)
    client("push", write_export(model), mine)
    repo, home = hub.repos[mine], client.home
    for k in range(1, KILLS + 1):
        write_export(model, seed=k)
        client("cached")
        client.start("push", model, mine)
        time.sleep(chance.uniform(0.1, 0.9))
        client.kill()
        time.sleep(0.2)
        weights = (model / "model.safetensors").read_bytes()
        report = json.dumps({"seed": k}).encode()
        new = [repo.head.files[n] for n in ("model.safetensors", "report.json")]
        assert len(repo.branches["main"]) in (k + 1, k + 2)
        assert (new == [weights, report]) == (len(repo.branches["main"]) == k + 2)
        client = new_client(home, HF_TOKEN=TOKEN)
        client("push", model, mine)
        assert len(repo.branches["main"]) == k + 2 and repo.head.files["report.json"] == report


def test_no_file_and_no_other_host_receives_the_token(hub, owner, mine, model):
    owner("push", model, mine)
    for method, path, headers in hub.seen:
        at_home = headers["host"].startswith("127.0.0.1")
        assert ("authorization" in headers) <= at_home, (method, path)
    assert hub.count("PUT", "/upload/") == 1
    written = [path for path in owner.home.rglob("*") if path.is_file()]
    assert written and not any(TOKEN.encode() in path.read_bytes() for path in written)
    for commit in hub.repos[mine].branches["main"]:
        assert not any(TOKEN.encode() in data for data in commit.files.values())


def test_a_pushed_model_is_fetched_byte_for_byte(hub, owner, new_client, mine, model):
    pushed = owner("push", model, mine)
    source = new_client(HF_TOKEN=TOKEN)("fetch", mine)
    assert source["revision"] == pushed["commit"] and source["license"] == "mit"
    weights = (model / "model.safetensors").read_bytes()
    assert source["files"]["model.safetensors"] == sha256(weights)
    assert is_large("model.safetensors")
