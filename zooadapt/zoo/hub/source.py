"""The files of a source: resolved to a commit, allowlisted and verified."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooadapt.errors import DataError, NotFoundError, UnavailableError
from zooadapt.family import config_keys
from zooadapt.runtime import filesystem, model_files
from zooadapt.zoo.hub import card, digests, records
from zooadapt.zoo.hub.client import call, is_offline
from zooadapt.zoo.hub.download import cached_files
from zooadapt.zoo.hub.records import Listing

CONFIG, CARD, LOCK = "config.json", "README.md", "zooadapt.lock.json"
LICENSE_FILE = re.compile(r"LICEN[SC]E(\.\w+)?|NOTICE", re.IGNORECASE)
_MAX_CARD = 5_000_000
_MAX_TEXT = 50_000_000
"""Largest size of a file other than weights; the largest tokenizers have 35 MB."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one model, each verified."""

    location: str
    """A Hub repo id, or the path of a local folder."""
    folder: Path
    revision: str | None
    """The commit; None for a folder without a lock file."""
    files: Mapping[str, str]
    """Name -> sha256 of every file used."""
    license: str | None
    """As its own card or config states."""
    license_name: str | None = None
    license_link: str | None = None
    """For the licence `other`; the link may be the name of a file of the source."""

    @property
    def license_texts(self) -> list[Path]:
        """The files with texts and notices of its licence."""
        return [self.folder / name for name in self.files if LICENSE_FILE.fullmatch(name)]


def resolve(location: str, *, revision: str | None = None, offline: bool = False) -> str | None:
    """The current commit of a repo's revision (default: `main`), or the last recorded one if
    offline; None for a local folder. Fetching by the commit needs no further request for it.

    Raises: NotFoundError, AccessError, UnavailableError and the other errors of the Hub.
    """
    if _is_folder(location):
        return None
    return _listing(location, revision, is_offline(offline)).revision


def fetch_config(
    location: str, *, revision: str | None = None, offline: bool = False
) -> dict[str, Any]:
    """The `config.json` of a local folder or Hub repo, verified, as bounded data.

    Raises: DataError for one that is malformed or differs from the Hub's hash, and as `resolve`.
    """
    if _is_folder(location):
        return local_config(Path(location))
    offline = is_offline(offline)
    listing = _listing(location, revision, offline)
    names = _bounded([_required(listing, CONFIG)], listing.sizes, location)
    folder, _ = cached_files(listing, names, offline)
    return model_files.read_config(folder / CONFIG)


def local_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model's folder.

    Raises: NotFoundError when there is no folder; DataError when it holds no model or a malformed
    config.
    """
    with filesystem.reading(folder):
        _check_model(folder, {entry.name for entry in folder.iterdir()})
    _locked(folder, [CONFIG])
    return model_files.read_config(folder / CONFIG)


def fetch(
    location: str,
    *,
    revision: str | None = None,
    names: Sequence[str] = (),
    offline: bool = False,
) -> Source:
    """A local folder or Hub repo with its config, weights, card, licence texts and those of the
    further `names` that it has. Nothing else is downloaded, and nothing is run.

    Raises: DataError for a source without safetensors, or with files that differ from the Hub's or
    the recorded hashes; and as `resolve`.
    """
    if _is_folder(location):
        return _local(Path(location), location, names)
    offline = is_offline(offline)
    listing = _listing(location, revision, offline)
    _required(listing, CONFIG)
    main = model_files.choose(listing.sizes, where=location)
    required = _bounded(_required_names(listing.sizes, main, names), listing.sizes, location)
    folder, files = cached_files(listing, required, offline)
    if main == model_files.INDEX:
        parts = [_required(listing, part) for part in model_files.shards(folder / main)]
        files |= cached_files(listing, parts, offline)[1]
    return Source(
        location=location, folder=folder, revision=listing.revision,
        files=dict(sorted(files.items())),
        **{"license": listing.license} | _license(folder, files),
    )  # fmt: skip


def _is_folder(location: str) -> bool:
    path = Path(location)
    if not path.exists():
        filesystem.recover(path)
    if path.is_dir():
        return True
    if path.exists():
        raise NotFoundError(
            f"'{location}' is a file, and a model is a folder",
            thing=location,
            remedy=f"give the folder that holds it: {path.parent}",
        )
    if not records.is_repo(location) or location.startswith("."):
        raise NotFoundError(
            f"'{location}' is neither a model's folder nor a Hub repo id",
            thing=location,
            remedy="give a folder that exists, or ORG/NAME",
        )
    return False


def _required_names(available: Collection[str], main: str, names: Sequence[str]) -> list[str]:
    texts = sorted(name for name in available if LICENSE_FILE.fullmatch(name))
    further = [name for name in names if name in available and name.count("/") < 2]
    return list(dict.fromkeys([CONFIG, main, *[CARD][: CARD in available], *texts, *further]))


def _bounded(names: list[str], sizes: Mapping[str, int | None], location: str) -> list[str]:
    """The names, checked for files that are too large to be read whole; weights are mapped."""
    for name in names:
        size = sizes[name] or 0
        if size > _MAX_TEXT and not name.endswith(".safetensors"):
            raise DataError(
                f"'{name}' of '{location}' has {size:,} bytes, more than {_MAX_TEXT:,}",
                thing=name,
                remedy="choose another source",
            )
    return names


def _required(listing: Listing, name: str) -> str:
    if name not in listing.sizes:
        raise DataError(
            f"'{listing.location}' has no {name}", thing=name, remedy="choose another source"
        )
    return name


# A local folder


def _check_model(folder: Path, names: Collection[str]) -> None:
    if CONFIG in names:
        return
    why = f"'{folder}' is no model: it has no {CONFIG}"
    inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if inner:
        raise DataError(why, thing=str(folder), remedy=f"give {folder / inner[0]}")
    remedy = "give a folder that holds a model, or ORG/NAME; the source comes before the data"
    if any(name.endswith(".safetensors") for name in names):
        remedy = f"put the {CONFIG} that belongs to its weights beside them"
    raise DataError(why, thing=str(folder), remedy=remedy)


def _local(folder: Path, location: str, names: Sequence[str]) -> Source:
    with filesystem.reading(folder):
        entries = [*folder.iterdir(), *(folder / name for name in names if "/" in name)]
        sizes = {
            entry.relative_to(folder).as_posix(): entry.stat().st_size
            for entry in entries
            if entry.is_file()
        }
    _check_model(folder, sizes)
    main = model_files.choose(sizes, where=location)
    required = _bounded(_required_names(sizes, main, names), sizes, location)
    if main == model_files.INDEX:
        required += model_files.shards(folder / main)
    lock = _locked(folder, required)
    files = {name: filesystem.file_sha256(folder / name) for name in sorted(required)}
    return Source(
        location=lock.get("location", location), folder=folder, revision=lock.get("revision"),
        files=files, **{"license": None} | _license(folder, files),
    )  # fmt: skip


def _locked(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The lock file of `pull` in a folder, checked against these files; empty if there is none."""
    path = folder / LOCK
    if not path.exists():
        return {}
    lock = model_files.read_config(path)
    files = lock.get("files")
    if not (isinstance(files, dict) and records.is_commit(lock.get("revision"))
            and isinstance(lock.get("location"), str)):  # fmt: skip
        raise DataError(f"'{path}' is not a lock file of zooadapt pull", thing=str(path))
    for name in names:
        if name in files and filesystem.file_sha256(folder / name) != files[name]:
            raise DataError(
                f"'{folder / name}' is not what was pulled: its sha256 differs from {LOCK}",
                thing=str(folder / name),
                remedy=f"zooadapt pull {lock['location']}@{lock['revision']} again",
            )
    return lock


def _license(folder: Path, files: Collection[str]) -> dict[str, str]:
    """The model's statement of its own licence: in its card, else in its config."""
    front: dict[str, Any] = {}
    if CARD in files:
        with (folder / CARD).open("rb") as file:
            text = file.read(_MAX_CARD).decode(errors="replace")
        try:
            front, _ = card.split(text, where=str(folder / CARD))
        except DataError:
            front = {}
    config = model_files.read_config(folder / CONFIG)
    inner = [config_keys.nested(config, part) for part in ("zooadapt", "pretrained_cfg")]
    for facts in (front, config, *inner):
        statement = {key: facts[key] for key in card.LICENSE if isinstance(facts.get(key), str)}
        if statement.get("license"):
            return statement
    return {}


# A repo on the Hub


def _listing(location: str, revision: str | None, offline: bool) -> Listing:
    revision = revision or "main"
    commit = revision if records.is_commit(revision) else None
    if commit is None and offline:
        commit = records.known_commit(location, revision)
    if commit is not None and (listing := records.known_listing(location, commit)):
        return listing
    if offline:
        raise UnavailableError(
            f"'{location}@{revision}' is not in the cache, and this run is offline",
            thing=location,
            remedy=f"zooadapt pull {location} once with a connection",
        )
    listing = _request_listing(location, revision)
    records.remember_listing(listing)
    if commit is None:
        records.remember_revision(location, revision, listing.revision)
    return listing


def _request_listing(location: str, revision: str) -> Listing:
    from huggingface_hub import HfApi

    info = call(
        lambda: HfApi(library_name="zooadapt").model_info(
            location, revision=revision, files_metadata=True
        ),
        repo=location,
    )
    hashes = digests.of_repo(info)
    license = info.card_data.get("license") if info.card_data else None
    return Listing(
        location=location, revision=digests.commit_of(info, location),
        sizes={file.rfilename: file.size for file in info.siblings or ()},
        digests={name: value for name, value in hashes.items() if name.count("/") < 2},
        license=license if isinstance(license, str) else None,
    )  # fmt: skip
