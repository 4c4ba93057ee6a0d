"""The writing half of a push: a repo where there is none, and one commit on the head looked at.

Every step first looks whether it was done already, so a lost answer and a rerun change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import ModelInfo

from zooadapt.errors import DataError, TryAgainError
from zooadapt.zoo.hub import digests
from zooadapt.zoo.hub.client import call


def send(
    repo: str,
    contents: Mapping[str, Path | bytes],
    message: str,
    *,
    parent: str | None,
    public: bool,
    create_pr: bool,
) -> tuple[str, str | None]:
    """Put `contents` into `repo` as one commit on `parent`, its head (None: there is no such repo),
    and check what arrived. The commit, and the pull request's address if it went into one.

    Raises: TryAgainError when the head is another by now, DataError when something else arrived;
    and as `call`.
    """
    api = HfApi(library_name="zooadapt")
    parent = parent or _create(api, repo, public)

    def commit() -> tuple[str, str | None]:
        if done := _done(api, repo, contents, message, create_pr):
            return done
        if not create_pr and (head := _info(api, repo, None).sha) != parent:
            raise TryAgainError(
                f"'{repo}' moved on to {head[:8]} while this was prepared; nothing was changed",
                thing=repo,
                remedy="push again",
            )
        operations = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in contents.items()
        ]
        made = api.create_commit(
            repo, operations, commit_message=message, parent_commit=parent, create_pr=create_pr
        )
        return made.oid, made.pr_url

    oid, pull_request = call(commit, repo=repo)
    arrived = call(lambda: _info(api, repo, oid), repo=repo)
    if not _holds(arrived, contents):
        raise DataError(f"what arrived at '{repo}' is not what was sent", thing=repo,
                        remedy=f"look at commit {oid}, then push again")  # fmt: skip
    return oid, pull_request


def _create(api: HfApi, repo: str, public: bool) -> str:
    call(lambda: api.create_repo(repo, private=not public, exist_ok=True), repo=repo)
    info = call(lambda: _info(api, repo, None), repo=repo)
    if others := sorted(digests.of_repo(info).keys() - digests.EMPTY):
        raise TryAgainError(
            f"somebody has just put {others[0]} into '{repo}'", thing=repo, remedy="push again"
        )
    return info.sha


def _done(
    api: HfApi, repo: str, contents: Mapping[str, Path | bytes], message: str, create_pr: bool
) -> tuple[str, str | None] | None:
    head = _info(api, repo, None)
    if _holds(head, contents):
        return head.sha, None
    if create_pr:
        for request in api.get_repo_discussions(
            repo, discussion_type="pull_request", discussion_status="open"
        ):
            if request.title == message:
                info = _info(api, repo, request.git_reference)
                if _holds(info, contents):
                    return info.sha, request.url
    return None


def _holds(info: ModelInfo, contents: Mapping[str, Path | bytes]) -> bool:
    there = digests.of_repo(info)
    return all(digests.is_same(content, there.get(name)) for name, content in contents.items())


def _info(api: HfApi, repo: str, revision: str | None) -> ModelInfo:
    return api.model_info(repo, revision=revision, files_metadata=True)
