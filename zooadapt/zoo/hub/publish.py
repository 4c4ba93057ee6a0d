"""The requests of a push that write: a new repo if there is none, and one commit on its head.

Every step first checks whether it is done, so that a lost answer or a rerun changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import ModelInfo

from zooadapt.errors import DataError, TryAgainError
from zooadapt.zoo.hub import digests
from zooadapt.zoo.hub.client import call
from zooadapt.zoo.hub.digests import commit_of


def send(
    repo: str,
    contents: Mapping[str, Path | bytes],
    message: str,
    *,
    parent: str | None,
    public: bool,
    create_pr: bool,
) -> tuple[str, str | None]:
    """Write `contents` into `repo` as one commit on `parent`, its head (None: there is no such
    repo), and verify them there. The commit, and the address of its pull request if there is one.

    Raises: TryAgainError when the head has changed, DataError when the Hub stored other contents;
    and as `call`.
    """
    api = HfApi(library_name="zooadapt")
    parent = parent or _create(api, repo, public)

    def commit() -> tuple[str, str | None]:
        if earlier := _earlier(api, repo, contents, message, create_pr):
            return earlier
        if not create_pr and (head := commit_of(_info(api, repo, None), repo)) != parent:
            raise TryAgainError(
                f"'{repo}' moved on to {head[:8]} during this push, which changed nothing",
                thing=repo,
                remedy="push again",
            )
        operations = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in contents.items()
        ]
        info = api.create_commit(
            repo, operations, commit_message=message, parent_commit=parent, create_pr=create_pr
        )
        return info.oid, info.pr_url

    oid, pull_request = call(commit, repo=repo)
    stored = call(lambda: _info(api, repo, oid), repo=repo)
    if not _holds(stored, contents):
        raise DataError(f"what '{repo}' stored is not what was sent", thing=repo,
                        remedy=f"inspect commit {oid}, then push again")  # fmt: skip
    return oid, pull_request


def _create(api: HfApi, repo: str, public: bool) -> str:
    call(lambda: api.create_repo(repo, private=not public, exist_ok=True), repo=repo)
    info = call(lambda: _info(api, repo, None), repo=repo)
    if others := sorted(digests.of_repo(info).keys() - digests.EMPTY):
        raise TryAgainError(
            f"another user has just added {others[0]} to '{repo}'", thing=repo, remedy="push again"
        )
    return commit_of(info, repo)


def _earlier(
    api: HfApi, repo: str, contents: Mapping[str, Path | bytes], message: str, create_pr: bool
) -> tuple[str, str | None] | None:
    """The commit, and pull request, by which an earlier try of this push has succeeded."""
    head = _info(api, repo, None)
    if _holds(head, contents):
        return commit_of(head, repo), None
    if create_pr:
        for request in api.get_repo_discussions(
            repo, discussion_type="pull_request", discussion_status="open"
        ):
            if request.title == message:
                info = _info(api, repo, request.git_reference)
                if _holds(info, contents):
                    return commit_of(info, repo), request.url
    return None


def _holds(info: ModelInfo, contents: Mapping[str, Path | bytes]) -> bool:
    stored = digests.of_repo(info)
    return all(digests.is_same(content, stored.get(name)) for name, content in contents.items())


def _info(api: HfApi, repo: str, revision: str | None) -> ModelInfo:
    return api.model_info(repo, revision=revision, files_metadata=True)
