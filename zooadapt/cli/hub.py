"""`zooadapt pull` and `push`: sources from the Hub, models onto it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.training.options import AdaptOptions

if TYPE_CHECKING:
    from zooadapt.zoo.hub import PushResult, Source


@command(example="zooadapt pull timm/mobilenetv2_100.ra_in1k")
@click.argument("source")
@shared.out("Folder to copy it to.", shown_default="the cache alone")
@shared.options_of(AdaptOptions, "overwrite", "offline")
@shared.as_json
def pull(source: str, out: Path | None, overwrite: bool, offline: bool, as_json: bool) -> None:
    """Download SOURCE, check every byte, and keep it for use without a network."""
    from zooadapt.runtime import outputs
    from zooadapt.zoo import hub
    from zooadapt.zoo.locations import locate

    if out is not None:
        outputs.check_output(out, overwrite=overwrite)
    progress(as_json).doing(f"fetching {source}", shows=True)
    _, location, revision = locate(source, offline=offline)
    config = hub.fetch_config(location, revision=revision, offline=offline)
    got = hub.pull(
        location, out, revision=revision, names=_further(config), overwrite=overwrite,
        offline=offline,
    )  # fmt: skip
    emit(_source(got), as_json, lambda: _show_source(got), stands=True)


@command(example="zooadapt push flowers-model me/flowers --dry-run")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("repo")
@shared.option("--public", is_flag=True, help="Make a new repository public; else it is private.")
@shared.option("--dry-run", is_flag=True, help="Show what would be sent; needs no token.")
@shared.option("--create-pr", is_flag=True, help="Open a pull request instead of committing.")
@shared.option(
    "--overwrite-repo", is_flag=True, help="Replace a repository that holds something else."
)
@shared.option(
    "--license",
    metavar="NAME",
    help="Short name of the licence, if that of the pretrained model is unknown.",
    shown_default="that of the pretrained model",
)
@shared.options_of(AdaptOptions, "offline")
@shared.as_json
def push(model: Path, repo: str, as_json: bool, **options: Any) -> None:
    """Publish MODEL, a folder that adapt wrote, as REPO (USER/NAME) on the Hub."""
    from zooadapt.zoo import hub

    names = _further(hub.local_config(model))
    progress(as_json).doing(f"comparing {model} with {repo}", shows=True)
    done = hub.push(model, repo, names=names, **options)
    shown = partial(_show_push, done, wanted_public=options["public"])
    emit(asdict(done), as_json, shown, stands=not options["dry_run"])


def _further(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Files that the model's family needs beside the usual ones; none where no family knows it."""
    from zooadapt.errors import DataError
    from zooadapt.family import further_files
    from zooadapt.zoo import registry

    try:
        return further_files(registry.family_for(config))
    except DataError:
        return ()


def _source(got: Source) -> dict[str, Any]:
    return {
        "location": got.location, "revision": got.revision, "folder": str(got.folder),
        "license": got.license, "files": dict(got.files),
    }  # fmt: skip


def _show_source(got: Source) -> None:
    commit = f" at {got.revision}" if got.revision else ""
    say(f"{got.location}{commit}, licence {got.license or 'unknown'}")
    table("", ["file", "sha256"], [[name, sha256] for name, sha256 in got.files.items()])
    say(f"in {got.folder}")


def _show_push(done: PushResult, *, wanted_public: bool) -> None:
    rows = [[f.name, f"{f.size:,}", f.sha256[:16], f.change] for f in done.files]
    table("", ["file", "bytes", "sha256", "there"], rows)
    if done.commit is None:
        kind = "public" if done.public else "private"
        new = f"a new {kind} repository" if done.creates_repo else f"the {kind} repository"
        for line in (done.card_diff or "README.md: no change").splitlines():
            say(line)
        if done.unseen:
            say(f"note: what is at {done.url} now is not known: {done.unseen}")
            new = "the repository"
        say(f"nothing was sent; without --dry-run it goes to {new} {done.url}")
    else:
        say(f"published as {done.pull_request or done.url}, commit {done.commit}")
    if wanted_public and not done.public:
        say("note: the repository exists and is private; its settings page makes it public")
