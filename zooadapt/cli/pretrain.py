"""`zooadapt pretrain`."""

from __future__ import annotations

from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say
from zooadapt.data.options import ReadOptions
from zooadapt.training.pretrain_options import PretrainRequest


@command(example="zooadapt pretrain rnn articles -o my-source --budget 10m")
@click.argument("family")
@click.argument("text")
@shared.out("New folder for the pretrained model.", required=True)
@shared.options_of(ReadOptions, "encoding")
@shared.options_of(PretrainRequest)
@shared.as_json
def pretrain(as_json: bool, **options: Any) -> None:
    """Pretrain a language model of FAMILY on plain TEXT, without labels.

    TEXT is a text file or a folder of .txt files. OUT is a pretrained model like any other:
    zooadapt adapt OUT DATA -o MODEL.
    """
    from zooadapt.data.reading import existing

    existing(options["text"])  # before torch is imported
    from zooadapt.workflows.pretrain import pretrain as run

    # Not `read_options`: recordings are read in windows, too, which are other ones.
    reading = ReadOptions(encoding=options.pop("encoding"))
    request = PretrainRequest(reading=reading, **options)
    report = run(request, progress(as_json))
    emit(report, as_json, lambda: _show(report), stands=True)


def _show(report: dict[str, Any]) -> None:
    data, seconds = report["data"], report["seconds"]["total"]
    say(
        f"{report['bits_per_character']:.3f} bits per character, perplexity "
        f"{report['perplexity']:.2f}, on {data['held_out']:,} of {data['characters']:,} characters"
    )
    say("a sample:")
    for line in report["sample"].splitlines():
        say(line)
    say(f"{seconds:.1f} s of work")
    say(f"source: {report['out']}")
