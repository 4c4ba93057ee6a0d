"""`zooadapt evaluate`, `predict` and `features`: inference with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.data.options import ReadOptions
from zooadapt.runtime.options import Group
from zooadapt.runtime.ranges import probability
from zooadapt.workflows.settings import Settings

_csv = shared.option(
    "--csv",
    "listing",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every sample with its label and probabilities to this file.",
    group=Group.OUTPUT,
    shown_default="none",
)
_top = shared.option(
    "--top",
    type=click.IntRange(1),
    metavar="K",
    help="Show the K most probable classes.",
    group=Group.OUTPUT,
    shown_default="1; all in --csv and --json",
)
_LABELLED = ("label_column", "label_columns", "task", "drop_unlabelled", "allow_tiny",
             "train_folder", "test_folder", "strict", "start_column", "end_column",
             "background")  # fmt: skip
"""Options about labels and splits, which inputs of `predict` have none of."""
_EXCERPT = 60
"""Characters of a text that are printed."""


@command(example="zooadapt evaluate flowers-model flowers --csv answers.csv")
@click.argument("model")
@click.argument("data")
@shared.option(
    "--split",
    "part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Split to measure on.",
    group=Group.DATA,
    shown_default="test; all if DATA has no test split of its own",
)
@_csv
@_top
@shared.options_of(ReadOptions)
@shared.options_of(Settings)
@shared.as_json
def evaluate(
    model: str,
    data: str,
    part: str | None,
    listing: Path | None,
    top: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure accuracy and macro F1 of MODEL on labelled DATA; --csv lists the errors."""
    settings = _settings(options)
    from zooadapt.workflows import inference

    metrics, task = inference.evaluate(
        model, data, settings, progress(as_json), part=part, listing=listing, top=top
    )
    result = task.scores_of(metrics)

    def show() -> None:
        say(", ".join([*(one.sentence(result) for one in task.shown), f"n {metrics.n}"]))
        for one in task.tables(metrics):
            table(one.title, one.columns, one.rows, short=one.short or ())
        if listing is not None:
            say(f"{listing} lists the samples")

    emit(result, as_json, show)


@command(example="zooadapt predict flowers-model photo.jpg --top 3")
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@shared.option(
    "--reject-below",
    callback=shared.parsed(probability),
    metavar="P",
    default=0.0,
    help="Label an input 'unknown' if no class has this probability.",
    group=Group.OUTPUT,
    shown_default="0, never",
)
@_csv
@shared.option(
    "--label-track",
    "track",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write times and labels of a recording's windows for Audacity, or for Raven if FILE ends "
    "in .selections.txt.",
    group=Group.OUTPUT,
    shown_default="none",
)
@_top
@shared.options_of(ReadOptions, without=("group_column",), idle=_LABELLED)
@shared.options_of(Settings)
@shared.as_json
def predict(
    model: str,
    inputs: tuple[str, ...],
    reject_below: float,
    listing: Path | None,
    track: Path | None,
    top: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict labels with probabilities for INPUTS: files, folders, a table, - for lines on stdin,
    or texts in quotes."""
    settings = _settings(options)
    from zooadapt.tasks.predictions import WindowPrediction, shortened
    from zooadapt.workflows import inference, recordings

    predictions = inference.predict(
        model,
        inputs,
        settings,
        progress(as_json),
        reject_below=reject_below,
        top=top,
        listing=listing,
        track=track,
    )
    whole = recordings.of_windows(predictions, reject_below=reject_below)
    each, whole = ([shortened(one, top) for one in ones] for ones in (predictions, whole))
    result = {"predictions": [one.to_json() for one in each]}
    if whole:
        result["recordings"] = [one.to_json() for one in whole]

    def show() -> None:
        for one in (*each, *whole):
            cells = one.cells(listed=top is not None)
            if isinstance(one, WindowPrediction):
                cells = [f"{one.start:.2f}", f"{one.end:.2f}", *cells]
            elif whole:
                cells = ["whole", "", *cells]
            say(one.input, *cells, *([_excerpt(one.text)] if one.text else []))
        for path in filter(None, (listing, track)):
            say(f"{path} lists them")

    emit(result, as_json, show)


@command(example="zooadapt features flowers-model flowers -o flowers.safetensors")
@click.argument("model")
@click.argument("data")
@shared.out(
    "A .safetensors file; the classes go to a .json file beside it.", metavar="FILE", required=True
)
@shared.option(
    "--at",
    metavar="STAGE",
    help="Stage whose activations are written.",
    group=Group.DATA,
    shown_default="the pooled features before the head",
)
@shared.options_of(ReadOptions, without=("group_column",))
@shared.options_of(Settings)
@shared.as_json
def features(
    model: str, data: str, out: Path, at: str | None, as_json: bool, **options: Any
) -> None:
    """Write the embeddings of DATA by MODEL, and any labels it has, as a safetensors file."""
    settings = _settings(options)
    from zooadapt.workflows import inference

    shapes = inference.features(model, data, out, settings, progress(as_json), at=at)

    def show() -> None:
        for name, shape in shapes.items():
            say(f"{name} {tuple(shape)}")

    tensors = {name: list(shape) for name, shape in shapes.items()}
    emit({"out": str(out), "tensors": tensors}, as_json, show, stands=True)


def _excerpt(text: str) -> str:
    """The start of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def _settings(options: dict[str, Any]) -> Settings:
    return Settings(reading=shared.read_options(options), **options)
