"""A repo on the Hub as a push finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zooadapt.errors import AccessError, DataError, NotFoundError
from zooadapt.zoo.hub import digests
from zooadapt.zoo.hub.client import call
from zooadapt.zoo.hub.source import CARD


@dataclass(frozen=True, kw_only=True)
class Remote:
    """The repo before a push: its head, its files' hashes and its card."""

    commit: str
    digests: Mapping[str, str | None]
    card: str | None
    public: bool


def inspect(repo: str, *, needs_token: bool) -> Remote | None:
    """The repo as it is; None for one that does not exist.

    Raises: AccessError without a token that is needed; DataError when the card is not what the Hub
    describes; and as `call`.
    """
    from huggingface_hub import HfApi, get_token

    if needs_token and not get_token():
        raise AccessError("publishing needs a Hub token", thing=repo, remedy="hf auth login")
    try:
        api = HfApi(library_name="zooadapt")
        info = call(lambda: api.model_info(repo, files_metadata=True), repo=repo)
    except NotFoundError:
        return None
    except AccessError:
        if get_token():
            raise
        return None  # without a token the Hub does not distinguish private repos from absent ones
    hashes, commit = digests.of_repo(info), digests.commit_of(info, repo)
    text = _remote_card(repo, commit, hashes[CARD]) if CARD in hashes else None
    return Remote(commit=commit, digests=hashes, card=text, public=not info.private)


def _remote_card(repo: str, commit: str, digest: str | None) -> str:
    from huggingface_hub import hf_hub_download

    for force in (False, True):
        path = call(
            partial(hf_hub_download, repo, CARD, revision=commit, force_download=force), repo=repo
        )
        if digests.is_same(Path(path), digest):
            return Path(path).read_text(encoding="utf-8", errors="replace")
    raise DataError(
        f"the card of '{repo}' is not what the Hub describes: its hash differs, twice",
        thing=CARD,
        remedy="try again later",
    )
