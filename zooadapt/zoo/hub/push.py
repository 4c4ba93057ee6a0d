"""Publishes a model on the Hub: checks it first, then makes one commit or none."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zooadapt import tasks
from zooadapt.errors import (
    DataError,
    TryAgainError,
    UnavailableError,
    UsageError,
    ZooadaptError,
)
from zooadapt.family import config_keys
from zooadapt.runtime import filesystem, model_files
from zooadapt.zoo import registry
from zooadapt.zoo.hub import card, digests, privacy, records
from zooadapt.zoo.hub.client import is_offline
from zooadapt.zoo.hub.remote import Remote, inspect
from zooadapt.zoo.hub.source import CARD, CONFIG, LICENSE_FILE, local_config

REPORT = "report.json"
_PUBLISHED = re.compile(r"labels\.\w+|report\.json", re.IGNORECASE)
_LICENSE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class PushedFile:
    """One file of a publication; `change` is `new`, `changed`, `same`, or `unknown` if the Hub was
    not reached."""

    name: str
    size: int
    sha256: str
    change: str


@dataclass(frozen=True, kw_only=True)
class PushResult:
    """A publication, or the plan of one in a dry run."""

    repo: str
    url: str
    files: tuple[PushedFile, ...]
    card: str
    card_diff: str
    public: bool
    creates_repo: bool
    message: str
    commit: str | None = None
    """None in a dry run."""
    pull_request: str | None = None
    unseen: str | None = None
    """Why a dry run could not read the repo."""


def push(
    model: Path,
    repo: str,
    *,
    public: bool = False,
    dry_run: bool = False,
    create_pr: bool = False,
    overwrite_repo: bool = False,
    license: str | None = None,
    names: tuple[str, ...] = (),
    pages: Mapping[str, bytes] = MappingProxyType({}),
    offline: bool = False,
) -> PushResult:
    """Publish an exported model with one commit, private unless `public`. The same push again
    changes nothing. `names` are further files that the model's family needs; `pages` are further
    files as they are to be published.

    Raises: DataError when the folder is not an export or holds private data; UsageError when the
    repo is public and the licence unknown; TryAgainError when the repo changed meanwhile, and this
    push changed nothing; AccessError, UnavailableError and the other errors of the Hub.
    """
    if not records.is_repo(repo):
        name = repo.strip("/").rpartition("/")[2]
        raise UsageError(
            f"'{repo}' is not a repository's name", thing=repo, remedy=f"give USER/{name}"
        )
    if license is not None and not _LICENSE_NAME.fullmatch(license):
        raise UsageError(
            f"'{license}' is not a licence's short name",
            thing="--license",
            remedy="give one as the Hub spells it: apache-2.0, mit, cc-by-4.0",
        )
    if is_offline(offline) and not dry_run:
        raise UnavailableError("publishing needs a connection", thing=repo, remedy="use --dry-run")
    config = _config(model)
    local = _local_files(model, names)
    remote, unseen = None, "this run is offline" if is_offline(offline) else None
    if unseen is None:
        try:
            remote = inspect(repo, needs_token=not dry_run)
        except (UnavailableError, TryAgainError) as error:
            if not dry_run:
                raise
            unseen = str(error)
    planned, contents = _plan(
        repo, local, config, remote, pages=pages, public=public, license=license,
        overwrite_repo=overwrite_repo,
    )  # fmt: skip
    if dry_run:
        return _without_comparison(planned, unseen) if unseen else planned
    from zooadapt.zoo.hub.publish import send

    commit, pull_request = send(
        repo, contents, planned.message, parent=remote.commit if remote else None,
        public=planned.public, create_pr=create_pr,
    )  # fmt: skip
    return replace(planned, commit=commit, pull_request=pull_request)


def _without_comparison(planned: PushResult, why: str) -> PushResult:
    files = tuple(replace(file, change="unknown") for file in planned.files)
    return replace(planned, files=files, creates_repo=False, unseen=why)


def _config(model: Path) -> dict[str, Any]:
    config = local_config(model)
    if not config_keys.nested(config, "zooadapt"):
        raise DataError(f"'{model}' was not made by zooadapt adapt", thing=str(model),
                        remedy="push the folder that adapt wrote")  # fmt: skip
    return config


def _local_files(model: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """The files of the folder that may be published."""
    with filesystem.reading(model):
        nested = [model / name for name in names if "/" in name and (model / name).exists()]
        entries = sorted([*model.iterdir(), *nested])
    needed = {CONFIG, model_files.WEIGHTS, CARD}
    chosen = {
        name: entry
        for entry in entries
        if (name := entry.relative_to(model).as_posix()) in needed.union(names)
        or LICENSE_FILE.fullmatch(name)
        or _PUBLISHED.fullmatch(name)
    }
    if missing := sorted(needed - chosen.keys()):
        raise DataError(f"'{model}' has no {missing[0]}", thing=missing[0],
                        remedy="push the folder that adapt wrote")  # fmt: skip
    for name, path in chosen.items():
        if path.is_symlink() or not path.is_file():
            raise DataError(f"'{path}' is not a regular file and is never published", thing=name,
                            remedy="put the file itself in its place")  # fmt: skip
    for name, path in chosen.items():
        if name.endswith(".safetensors"):
            model_files.check_header(path)
    return chosen


def _plan(
    repo: str,
    local: Mapping[str, Path],
    config: Mapping[str, Any],
    remote: Remote | None,
    *,
    pages: Mapping[str, bytes],
    public: bool,
    license: str | None,
    overwrite_repo: bool,
) -> tuple[PushResult, dict[str, Path | bytes]]:
    if remote and not overwrite_repo and not card.is_ours(remote.card or ""):
        if others := sorted(remote.digests.keys() - digests.EMPTY):
            raise DataError(
                f"'{repo}' holds {others[0]} and was not published by zooadapt",
                thing=repo,
                remedy="choose another name, or --overwrite-repo",
            )
    theirs = remote.card if remote else None
    with filesystem.reading(local[CARD]):
        ours = local[CARD].read_text(encoding="utf-8", errors="replace")
    text = _card(repo, _placed(ours, repo, config), theirs, license)
    front, _ = card.split(text, where=CARD)
    is_public = remote.public if remote else public
    if public or is_public:
        _check_license(front)
    contents: dict[str, Path | bytes] = {**local, CARD: text.encode(), **pages}
    if REPORT in local:
        contents[REPORT] = _without_samples(local[REPORT])
    _check_private(contents)
    files = tuple(
        _pushed(name, content, remote.digests if remote else {})
        for name, content in sorted(contents.items())
    )
    diff = difflib.unified_diff(
        (theirs or "").splitlines(True), text.splitlines(True), "README.md there", "README.md"
    )
    planned = PushResult(
        repo=repo, url=_url(repo), files=files, card=text, card_diff="".join(diff),
        public=is_public, creates_repo=remote is None, message=_message(config),
    )  # fmt: skip
    return planned, contents


def _without_samples(report: Path) -> Path | bytes:
    """A report without the names of samples, which may name people, and without hashes, which
    would reveal whether a certain sample was among them."""
    try:
        facts = json.loads(report.read_bytes())
        names = [facts["data"].pop(key, None) for key in ("held_out", "learned")]
    except (ValueError, TypeError, KeyError, AttributeError):
        return report
    return filesystem.json_bytes(facts) if any(names) else report


def _placed(text: str, repo: str, config: Mapping[str, Any]) -> str:
    """The card of a model in the repo. The family says how its own library loads the model from
    there; without its plugin the repo id replaces the folder."""
    name = config["zooadapt"].get("family")
    with suppress(ZooadaptError):
        family = registry.load(name if isinstance(name, str) else "")
        local = family.usage(config, card.FOLDER) or ""
        remote = family.usage(config, repo, on_hub=True) or ""
        for before, after in zip(local.splitlines(), remote.splitlines(), strict=False):
            text = text.replace(before, after) if before != after else text
    return text.replace(card.FOLDER, repo)


def _card(repo: str, ours: str, theirs: str | None, license: str | None) -> str:
    front, body = card.split(ours, where=CARD)
    for entry in front.get("model-index") or ():
        if isinstance(entry, dict):
            entry["name"] = repo.rpartition("/")[2]
    if front.get("license") == "other" and "base_model" in front:
        base, commit = front["base_model"], front.get("base_model_revision", "main")
        front.setdefault("license_name", re.sub(r"[^a-z0-9]+", "-", f"{base} license".lower()))
        front.setdefault("license_link", f"https://huggingface.co/{base}/tree/{commit}")
    merged = card.merge(card.join(front, body), theirs)
    if license is not None:
        front, body = card.split(merged, where=CARD)
        merged = card.join(front | {"license": license}, body)
    return merged


def _check_license(front: Mapping[str, Any]) -> None:
    if not front.get("license"):
        raise UsageError(
            "the licence of the pretrained model is not known, so the model cannot be public",
            thing="--license",
            remedy="look it up, then give --license NAME, or publish it private",
        )
    if front["license"] == "other" and not (front.get("license_name") and
                                            front.get("license_link")):  # fmt: skip
        raise UsageError(
            "the licence 'other' has no name and link, so the model cannot be public",
            thing="--license",
            remedy="write license_name and license_link into the front matter of README.md",
        )


def _check_private(contents: Mapping[str, Path | bytes]) -> None:
    texts = {}
    for name, content in contents.items():
        if name.endswith(".safetensors") and isinstance(content, Path):
            # Numbers of a tensor may spell anything; what people wrote stands in the header.
            with content.open("rb") as file:
                texts[name] = file.read(int.from_bytes(file.read(8), "little"))
        else:
            texts[name] = content if isinstance(content, bytes) else content.read_bytes()
    privacy.check(texts)


def _pushed(name: str, content: Path | bytes, remote: Mapping[str, str | None]) -> PushedFile:
    change = "new"
    if name in remote:
        change = "same" if digests.is_same(content, remote[name]) else "changed"
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    return PushedFile(name=name, size=size, sha256=digests.sha256(content), change=change)


def _message(config: Mapping[str, Any]) -> str:
    ours = config_keys.nested(config, "zooadapt")
    source, scores = config_keys.nested(ours, "source"), config_keys.nested(ours, "scores")
    base = str(source.get("location", "a source")).rstrip("/").rpartition("/")[2]
    task = config_keys.nested(ours, "task").get("name", tasks.DEFAULT)
    shown = tasks.named(str(task)).shown[0]
    measured = [
        f", {part} {shown.title} {shown.text(figures)}"
        for part in ("test", "val")
        if isinstance((figures := config_keys.nested(scores, part)).get(shown.key), float)
    ]
    data = str(ours.get("data", ""))[:12]
    return (
        f"{base} adapted to data {data}{''.join(measured[:1])} (zooadapt {ours.get('version', '')})"
    )


def _url(repo: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}"
