"""`zooadapt export`: a model as a file that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say
from zooadapt.data.options import ReadOptions
from zooadapt.runtime.options import Group
from zooadapt.training.options import AdaptOptions

_KINDS = ("onnx", "onnx-int8")


@command(example="zooadapt export flowers-model flowers --to onnx -o flowers.onnx")
@click.argument("model")
@click.argument("data", required=False)
@shared.option(
    "--to",
    "kind",
    type=click.Choice(_KINDS),
    required=True,
    help="Format of the file.",
    group=Group.OUTPUT,
)
@shared.out("The file to write.", metavar="FILE", required=True)
@shared.options_of(ReadOptions, without=("group_column",))
@shared.options_of(AdaptOptions, "offline")
@shared.as_json
def export(
    model: str,
    kind: str,
    out: Path,
    data: str | None,
    offline: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write MODEL as an ONNX file, after its results on samples of DATA were compared with torch's.
    Without DATA, samples are synthesised; int8 is calibrated on the training part."""
    reading = shared.read_options(options)
    from zooadapt.workflows import onnx_proof
    from zooadapt.workflows.onnx_export import export as run

    result = run(
        model, out, progress(as_json), kind=kind, data=data, reading=reading, offline=offline
    )

    def show() -> None:
        for line in onnx_proof.lines(result["proof"]):
            say(line)
        if "int8_layers" in result:
            count = len(result["float_layers"])
            say(f"{result['int8_layers']} layers are in int8, {count} stayed in float")
        say(f"{out} has {result['bytes'] / 1e6:.1f} MB")

    emit(result, as_json, show, stands=True)
