"""`zooadapt rank`."""

from __future__ import annotations

from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.data.options import ReadOptions
from zooadapt.workflows.rank_options import RankRequest


@command(example="zooadapt rank flowers timm/mobilenetv2_100.ra_in1k digits04")
@click.argument("data")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@shared.options_of(ReadOptions)
@shared.options_of(RankRequest)
@shared.as_json
def rank(data: str, sources: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Rank pretrained models by how well their features suit DATA; nothing is trained.

    Without SOURCE: the bundled and downloaded models of the data's modality.
    """
    request = RankRequest(
        data=data, sources=sources, reading=shared.read_options(options), **options
    )
    display = progress(as_json)
    display.doing("importing torch")
    from zooadapt.workflows.rank import rank as run

    result = run(request, display)
    emit(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    columns = ["source", "accuracy", "95 % interval", "n", "loss", "5-NN", "LogME", "H",
               "untrained", "best depth", "there", "parameters", "ms", "MB", "input",
               "licence"]  # fmt: skip
    ranked = [one for one in result["sources"] if one["error"] is None]
    failed = [one for one in result["sources"] if one["error"] is not None]
    rows = [_row(one) for one in ranked]
    rows += [_scores(one["name"], one) + [""] * 12 for one in result["baselines"]]
    rows += [[one["name"], "failed"] + [""] * 14 for one in failed]
    table("", columns, rows, spare=(7, 6, 13, 15, 14, 4, 11, 2, 10, 9, 8))
    for one in failed:
        remedy = one["error"]["remedy"]
        say(f"{one['name']}: {one['error']['message']}" + (f". Try: {remedy}" if remedy else ""))
    for note in result["notes"]:
        say(f"note: {note}")
    for sentence in result["conclusion"]:
        say(sentence)
    say(f"{result['seconds']['total']:.1f} s")


def _row(one: dict[str, Any]) -> list[Any]:
    return [
        *_scores(one["name"], one),
        f"{one['loss']:.3f}",
        f"{one['neighbours']:.3f}",
        f"{one['logme']:.3f}",
        f"{one['h_score']:.2f}",
        f"{one['untrained']['accuracy']:.3f}" if one["untrained"] else "",
        one["depth"]["stage"],
        f"{one['depth']['accuracy']:.3f}",
        f"{one['parameters']:,}",
        f"{1000 * one['seconds']:.1f}",
        f"{one['memory_bytes'] / 1e6:,.0f}",
        one["input"],
        one["license"] or "unknown",
    ]


def _scores(name: str, one: dict[str, Any]) -> list[Any]:
    low, high = one["interval"]
    return [name, f"{one['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", one["n"]]
