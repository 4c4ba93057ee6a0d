"""`zooadapt pull` and `push`: pretrained models from the Hub, adapted models to it."""

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
    """Download SOURCE from the Hub and verify it, for offline use."""
    from zooadapt.runtime import outputs
    from zooadapt.zoo import sources

    if out is not None:
        outputs.check_output(out, overwrite=overwrite)
    progress(as_json).doing(f"fetching {source}", shows=True)
    source_files = sources.pull(source, out, overwrite=overwrite, offline=offline)
    emit(_facts(source_files), as_json, lambda: _show_source(source_files), stands=True)


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
@shared.option("--with-report", is_flag=True, help="Send report.html too, without samples.")
@shared.option(
    "--with-thumbnails",
    is_flag=True,
    help="Send report.html with pictures and texts of samples; their names are left out.",
)
@shared.options_of(AdaptOptions, "offline")
@shared.as_json
def push(
    model: Path,
    repo: str,
    as_json: bool,
    with_report: bool,
    with_thumbnails: bool,
    **options: Any,
) -> None:
    """Publish MODEL, a folder that adapt wrote, as the Hub repository REPO (USER/NAME)."""
    from zooadapt.zoo import hub, sources

    names = sources.extra_files(hub.local_config(model))
    progress(as_json).doing(f"comparing {model} with {repo}", shows=True)
    pages: Mapping[str, bytes] = {}
    if with_report or with_thumbnails:
        from zooadapt.workflows import html_report

        pages = html_report.to_publish(model, repo, with_thumbnails=with_thumbnails)
    result = hub.push(model, repo, names=names, pages=pages, **options)
    show = partial(_show_push, result, public=options["public"])
    emit(asdict(result), as_json, show, stands=not options["dry_run"])


def _facts(source: Source) -> dict[str, Any]:
    return {
        "location": source.location, "revision": source.revision, "folder": str(source.folder),
        "license": source.license, "files": dict(source.files),
    }  # fmt: skip


def _show_source(source: Source) -> None:
    commit = f" at {source.revision}" if source.revision else ""
    say(f"{source.location}{commit}, licence {source.license or 'unknown'}")
    table("", ["file", "sha256"], [[name, sha256] for name, sha256 in source.files.items()])
    say(f"in {source.folder}")


def _show_push(result: PushResult, *, public: bool) -> None:
    rows = [[f.name, f"{f.size:,}", f.sha256[:16], f.change] for f in result.files]
    table("", ["file", "bytes", "sha256", "on the Hub"], rows)
    if result.commit is None:
        kind = "public" if result.public else "private"
        new = f"a new {kind} repository" if result.creates_repo else f"the {kind} repository"
        for line in (result.card_diff or "README.md: no change").splitlines():
            say(line)
        if result.unseen:
            say(f"note: {result.url} could not be compared: {result.unseen}")
            new = "the repository"
        say(f"nothing was sent; without --dry-run it goes to {new} {result.url}")
    else:
        say(f"published as {result.pull_request or result.url}, commit {result.commit}")
    if public and not result.public:
        say("note: the repository is private; its settings page makes it public")
