"""`zooadapt evaluate`, `predict` and `features`: a model put to use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.runtime.ranges import MANY

_batch = click.option("--batch-size", type=click.IntRange(1, MANY), default=32, show_default=True)

_csv = click.option(
    "--csv",
    "listing",
    type=click.Path(path_type=Path),
    help="Write every sample with its label and probabilities to this file.",
)
_top = click.option(
    "--top",
    type=click.IntRange(1),
    help="Show the K most probable classes; default: one, and all in --csv and --json.",
)
_SHOWN = 60


@command()
@click.argument("model")
@click.argument("data")
@click.option(
    "--split",
    "part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part; default: test, or all where DATA has no test part of its own.",
)
@_csv
@_top
@shared.precision
@_batch
@shared.reading
@shared.running
def evaluate(
    model: str,
    data: str,
    part: str | None,
    listing: Path | None,
    top: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Accuracy and macro F1 of MODEL on labelled DATA; --csv lists which samples are wrong."""
    settings = _settings(options)
    from zooadapt.workflows import inference

    metrics, classes = inference.evaluate(
        model, data, settings, progress(as_json), part=part, listing=listing, top=top
    )
    result = metrics.summary() | {"classes": list(classes)} | metrics.confusion.to_json()

    def show() -> None:
        (low, high), (f1_low, f1_high) = metrics.interval, metrics.macro_f1_interval
        say(
            f"accuracy {metrics.accuracy:.3f} ({low:.3f} to {high:.3f}), macro F1 "
            f"{metrics.macro_f1:.3f} ({f1_low:.3f} to {f1_high:.3f}), n {metrics.n}"
        )
        if len(classes) <= 12:
            pairs = enumerate(zip(classes, metrics.confusion.matrix(), strict=True), 1)
            rows = [[number, name, *row] for number, (name, row) in pairs]
            numbers = ["", "", *(str(number) for number, *_ in rows)]
            title = "true class (rows), predicted (columns)"
            table(title, ["", "", *classes], rows, short=numbers)
        if listing is not None:
            wrong = metrics.n - int(metrics.confusion.hits.sum())
            say(f"{listing} lists the samples; correct is 'no' for {wrong} of {metrics.n}")

    emit(result, as_json, show)


@command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--reject-below",
    type=shared.Probability(),
    default=0.0,
    help="Label an input 'unknown' where no class has this probability.",
)
@_csv
@_top
@shared.precision
@_batch
@shared.reading
@shared.running
def predict(
    model: str,
    inputs: tuple[str, ...],
    reject_below: float,
    listing: Path | None,
    top: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Labels with probabilities for INPUTS: files, folders, a table, - for lines on stdin, or texts
    themselves, in quotes."""
    settings = _settings(options)
    from zooadapt.workflows import inference

    predictions = inference.predict(
        model,
        inputs,
        settings,
        progress(as_json),
        reject_below=reject_below,
        top=top,
        listing=listing,
    )

    def show() -> None:
        for one in predictions:
            others = list(one.probabilities.items())[1:] if top else []
            cells = [one.label, f"{one.probability:.4f}"]
            cells += [cell for name, p in others for cell in (name, f"{p:.4f}")]
            say(one.input, *cells, *([_start(one.text)] if one.text else []))
        if listing is not None:
            say(f"{listing} lists them")

    emit({"predictions": [asdict(one) for one in predictions]}, as_json, show)


@command()
@click.argument("model")
@click.argument("data")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A .safetensors file; the classes go to a .json file beside it.",
)
@click.option("--at", help="Stage after which the carry is taken; default: the last.")
@shared.precision
@_batch
@shared.reading
@shared.running
def features(
    model: str, data: str, out: Path, at: str | None, as_json: bool, **options: Any
) -> None:
    """Embeddings of DATA under MODEL, and its labels where it has any, as a safetensors file."""
    settings = _settings(options)
    from zooadapt.workflows import inference

    shapes = inference.features(model, data, out, settings, progress(as_json), at=at)

    def show() -> None:
        for name, shape in shapes.items():
            say(f"{name} {tuple(shape)}")

    tensors = {name: list(shape) for name, shape in shapes.items()}
    emit({"out": str(out), "tensors": tensors}, as_json, show, stands=True)


def _start(text: str) -> str:
    """The start of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _settings(options: dict[str, Any]) -> Any:
    reading = shared.read_options(options)
    from zooadapt.workflows.inference import Settings

    return Settings(reading=reading, **options)
