"""`zooadapt pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say


@command()
@click.argument("family")
@click.argument("text")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option(
    "--unit",
    type=click.Choice(["byte", "char"]),
    default="byte",
    show_default=True,
    help="What a symbol is; bytes can spell any text.",
)
@click.option("--hidden", type=int, default=224, show_default=True, help="States a layer.")
@click.option("--layers", type=int, default=2, show_default=True)
@click.option(
    "--epochs", type=int, help="Passes over the text; default: 3, or what --budget allows."
)
@click.option("--budget", type=shared.Duration(), help="Time to train for, as 90s, 10m or 1h.")
@click.option("--lr", type=float, default=3e-3, show_default=True, help="Peak rate.")
@click.option(
    "--window", type=int, default=128, show_default=True, help="Characters read at a time."
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Windows per step.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--encoding", default="auto", show_default=True, help="Of the text.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def pretrain(as_json: bool, **options: Any) -> None:
    """Train a language model of FAMILY on plain TEXT: a source that needs no labels.

    TEXT is a text file or a folder of .txt files. What is written to OUT is a source like any
    other: zooadapt adapt OUT DATA -o MODEL.
    """
    from zooadapt.data.reading import existing

    existing(options["text"])  # before torch is imported
    from zooadapt.workflows.pretrain import PretrainRequest
    from zooadapt.workflows.pretrain import pretrain as run

    request = PretrainRequest(reading=shared.read_options(options), **options)
    made = run(request, progress(as_json))
    emit(made, as_json, lambda: _show(made), stands=True)


def _show(made: dict[str, Any]) -> None:
    data, seconds = made["data"], made["seconds"]["total"]
    say(
        f"{made['bits_per_character']:.3f} bits per character, perplexity "
        f"{made['perplexity']:.2f}, on {data['held_out']:,} of {data['characters']:,} characters"
    )
    say("a sample:")
    for line in made["sample"].splitlines():
        say(line)
    say(f"{seconds:.1f} s of work")
    say(f"source: {made['out']}")
