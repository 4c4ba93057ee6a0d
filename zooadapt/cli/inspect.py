"""`zooadapt inspect` and `models`: pretrained models to start from."""

from __future__ import annotations

from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.training.options import AdaptOptions


@command(example="zooadapt inspect timm/mobilenetv2_100.ra_in1k")
@click.argument("source")
@shared.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    default=4,
    shown_default="4",
    help="Samples in the batch that is measured.",
)
@shared.options_of(AdaptOptions, "offline")
@shared.as_json
def inspect(source: str, batch_size: int, offline: bool, as_json: bool) -> None:
    """Show the stages of SOURCE with their parameters, measured milliseconds and freeze points."""
    from zooadapt.workflows.inspect import inspect as run

    facts = run(source, batch_size=batch_size, offline=offline, progress=progress(as_json))
    emit(facts, as_json, lambda: _show_source(facts))


def _show_source(facts: dict[str, Any]) -> None:
    say(
        f"{facts['source']['location']}: {facts['family']}, {facts['modality']}, "
        f"licence {facts['license'] or 'unknown'}, head {facts['head']}, "
        f"{facts['parameters']:,} parameters"
    )
    if facts["classes"]:
        more = " …" if len(facts["classes"]) > 12 else ""
        say(f"classes: {', '.join(facts['classes'][:12])}{more}")
    for note in facts["notes"]:
        say(f"note: {note}")
    rows, earlier = [], 0.0
    whole = sum(stage["milliseconds"] for stage in facts["stages"]) or 1.0
    for k, stage in enumerate(facts["stages"]):
        rows.append(
            [
                k,
                stage["name"],
                f"{stage['parameters']:,}",
                f"{stage['milliseconds']:.2f}",
                f"{stage['carry_bytes'] / 1024:.0f}",
                f"from:{stage['name']}",
                f"{100 * (1 - earlier / whole):.0f} %",
            ]
        )
        earlier += stage["milliseconds"]
    table(
        "stages, for one sample on this machine",
        [
            "freeze_at",
            "stage",
            "parameters",
            "ms",
            "KiB out",
            "strategy that starts here",
            "forward share left",
        ],
        rows,
        spare=(5, 4, 2, 6),
    )


@command(example="zooadapt models mobilenet --limit 5")
@click.argument("search", default="")
@shared.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=50,
    shown_default="50",
    help="Models to list at most.",
)
@shared.options_of(AdaptOptions, "offline", idle=("offline",))
@shared.as_json
def models(search: str, limit: int, as_json: bool, **idle: bool) -> None:
    """List pretrained models to start from: bundled, downloaded, or known to a model family.

    SEARCH is part of a name.
    """
    from zooadapt.zoo.catalogue import models as catalogue

    listing = catalogue(search, limit=limit)

    def show() -> None:
        rows = listing["models"]
        for modality in sorted({row["modality"] for row in rows}):
            recommended = [row for row in rows if row["start"] and row["modality"] == modality]
            if recommended:
                _table(f"recommended, {modality}", recommended)
        _table("", [row for row in rows if not row["start"]])
        if listing["more"]:
            say(f"{listing['more']} more; narrow the search or raise --limit")
        for one in listing["broken"]:
            say(f"{one['name']}: broken")
            say(f"    {one['error']}")
            say(f"    try: {one['remedy']}")

    emit(listing, as_json, show)


def _table(title: str, rows: list[dict[str, Any]]) -> None:
    cells = [
        [
            row["source"],
            row["family"],
            row["license"] or "unknown",
            "" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.1f}",
            row["start"] or row["note"],
        ]
        for row in rows
    ]
    if cells:
        table(title, ["source", "family", "licence", "MB", "note"], cells, spare=(1, 2))
