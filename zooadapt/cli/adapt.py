"""`zooadapt adapt`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.runtime.wording import counted


@command()
@click.argument("source")
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option(
    "--strategy",
    default="auto",
    show_default=True,
    help="auto, probe, lp-ft, full, gradual or from:STAGE.",
)
@click.option(
    "--budget",
    type=shared.Duration(),
    help="Time after which the best so far is exported, as 90s, 10m or 1h; auto: 10m.",
)
@click.option(
    "--head",
    type=click.Choice(["ridge", "logistic"]),
    default="ridge",
    show_default=True,
    help="How a head on frozen features is solved.",
)
@click.option("--epochs", type=int, help="Epochs in all; default: by strategy and data size.")
@click.option(
    "--patience",
    type=int,
    help="Epochs without a lower validation loss before a phase ends; default: never.",
)
@click.option("--lr", type=float, help="Peak rate of the head.")
@click.option("--batch-size", type=int, help="Samples per step.")
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd"]),
    default="adamw",
    show_default=True,
    help="sgd takes ten times the rate.",
)
@click.option("--stage-decay", type=float, help="Factor on the rate per stage towards the input.")
@click.option("--weight-decay", type=float, help="Norms and biases are spared.")
@click.option(
    "--label-smoothing", type=float, help="Share of a label spread over all classes; default: 0.1."
)
@click.option(
    "--tune",
    type=click.Choice(["all", "norm", "bias", "lora"]),
    default="all",
    show_default=True,
    help="What of the trained stages moves.",
)
@click.option(
    "--lora-rank", type=int, default=8, show_default=True, help="Rank of --tune lora's updates."
)
@click.option(
    "--ema",
    type=float,
    default=0.0,
    show_default=True,
    help="Keep a running average of the weights with this decay; 0.99 is a start.",
)
@click.option(
    "--soup",
    type=int,
    default=0,
    show_default=True,
    help="Average the best epoch with so many next best ones, where that is better; 4 is a start.",
)
@click.option(
    "--mixup",
    type=float,
    default=0.0,
    show_default=True,
    help="Average pairs of samples; 0.2 is a start, for thousands of samples.",
)
@click.option(
    "--cutmix",
    type=float,
    default=0.0,
    show_default=True,
    help="Paste boxes of other images; 1 is a start, for thousands of samples.",
)
@click.option(
    "--l2sp",
    type=float,
    default=0.0,
    show_default=True,
    help="Decay towards the source's weights, in place of weight decay; 1 is a start.",
)
@click.option(
    "--imbalance",
    type=click.Choice(["auto", "none", "weights", "sampler", "logit-adjust"]),
    default="auto",
    show_default=True,
    help="What is done about classes of unequal size.",
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "balanced-accuracy"]),
    default="accuracy",
    show_default=True,
    help="What models are chosen for.",
)
@click.option(
    "--norm-statistics",
    type=click.Choice(["auto", "frozen", "train"]),
    default="auto",
    show_default=True,
    help="Running statistics of trained norm layers.",
)
@click.option(
    "--augment",
    type=click.Choice(["auto", "none", "crop", "flip", "rand"]),
    default="auto",
    show_default=True,
    help="How images are varied anew in every epoch.",
)
@shared.precision
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of every draw: splits, order, weights."
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="Share held out to compare epochs; a probe needs none.",
)
@click.option(
    "--refit/--no-refit",
    default=True,
    show_default=True,
    help="Once all is chosen and measured, train on for a while, what was held out included.",
)
@click.option(
    "--folds",
    type=int,
    help="Measure a solved head by so many folds, drawn three times, not by leave-one-out.",
)
@click.option("--group-column", help="Tables: whose a row is; groups are never split.")
@click.option(
    "--suspects",
    type=click.Path(path_type=Path),
    help="A .csv for the labels that are probably wrong.",
)
@click.option("--drop-suspects", is_flag=True, help="Do not learn from such labels.")
@click.option("--relabel-suspects", is_flag=True, help="Learn the likelier label in their place.")
@click.option("--labels-per-class", type=int, help="Use only so many training samples a class.")
@click.option(
    "--unlabelled",
    metavar="FILE|DIR",
    help="Samples of the target without labels: a table, a text file of one text a line, or a "
    "folder; what is learned of them is kept if the labels say so.",
)
@click.option("--input-size", type=int, help="Image side in pixels; default: the source's.")
@click.option(
    "--max-length", type=int, help="Tokens or characters read of a text; default: the source's."
)
@click.option("--in-chans", type=int, help="Input channels; 1 for greyscale.")
@click.option(
    "--crop",
    type=click.Choice(["auto", "center", "squash", "border"]),
    default="auto",
    show_default=True,
    help="How images of another shape are made to fit: cut off, squeezed or set on a ground.",
)
@click.option(
    "--cache-gb",
    type=float,
    default=10.0,
    show_default=True,
    help="Disk for stored carries; 0 turns the cache off.",
)
@click.option(
    "--views",
    type=int,
    default=0,
    show_default=True,
    help="Augmented views to store of each image where training starts from a cut.",
)
@click.option("--from-scratch", is_flag=True, help="The same network from random weights.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and stop.")
@click.option("--why", is_flag=True, hidden=True)  # every run says why now; scripts may pass it
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@click.option(
    "--checkpoint-seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Work that an interruption may cost; less where saving is quick.",
)
@click.option(
    "--deterministic-plan",
    is_flag=True,
    help="Plan by counted operations, not by measured seconds: the same plan at any time.",
)
@click.option("--resume", is_flag=True, help="Go on from where an interrupted run stopped.")
@shared.reading
@shared.running
def adapt(as_json: bool, **options: Any) -> None:
    """Adapt SOURCE to DATA and write an export to OUT.

    SOURCE is [FAMILY:]LOCATION[@REVISION]: a Hub repo id, a folder or a bundled source's name.
    DATA is a folder of class folders, a CSV, JSON or Parquet file, or hf:ID.
    """
    from zooadapt.cli import Interrupted
    from zooadapt.training.config import Request

    options.pop("why")
    given = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in options if given(name) is ParameterSource.COMMANDLINE)
    request = Request(reading=shared.read_options(options), typed=typed, **options)
    from zooadapt.workflows.inputs import open_inputs

    shown = progress(as_json)
    opened = open_inputs(request, shown)
    shown.doing("importing torch")
    with opened.clock.part("imports"):
        from zooadapt.workflows.adapt import adapt as run

    try:
        result = run(request, shown, opened=opened)
    except Interrupted:
        shown.say(_how_to_go_on(request.out))
        raise
    written = "out" in result.report
    emit(result.report, as_json, lambda: _show(result.report), stands=written)


def _how_to_go_on(out: Path) -> str:
    from zooadapt.training.resume import folder_of

    checkpoint = folder_of(out)
    if not checkpoint.exists():
        return "interrupted before there was anything to resume"
    words = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    command = shlex.join(["zooadapt", *words, "--resume"])
    return f"interrupted: what was trained is in '{checkpoint}'. Go on with: {command}"


def _show(report: dict[str, Any]) -> None:
    if "out" not in report:
        for note in report["notes"]:
            say(f"note: {note}")
        return
    how = report["plan"]["val"]
    rows = [] if _only_learned(report) else [_row("val", how, report["val"])]
    if report["test"]:
        rows.append(_row("test", "test part", report["test"]))
    for name, scores in report["test_baselines"].items():
        rows.append(_row(name, "test part", scores))
    baselines = {} if _only_learned(report) else report["baselines"]
    for name, scores in baselines.items():
        same = how if scores["n"] == report["val"]["n"] else "held out"
        rows.append(_row(name, scores.get("how", same), scores))
    columns = ["", "measured on", "accuracy", "95 % interval", "macro F1", "95 % interval", "n"]
    table("", columns, rows, spare=(5, 4, 6))
    for line in _lines(report):
        say(line)
    seconds = report["seconds"]
    parts = ", ".join(
        f"{name} {value:.1f}"
        for name, value in seconds.items()
        if name != "total" and value >= 0.05
    )
    say(f"{seconds['total']:.1f} s of work ({parts})")
    say(f"model: {report['out']}")


def _only_learned(report: dict[str, Any]) -> bool:
    """Whether the source had learned every sample that `val` was measured on."""
    samples, before = report["data"]["samples"], report["data"]["learned_before"]
    part = "val" if "val" in samples else "train"
    return before[part] == samples[part]


def _row(name: str, how: str, scores: dict[str, Any]) -> list[Any]:
    (low, high), (f1_low, f1_high) = scores["interval"], scores["macro_f1_interval"]
    return [
        name,
        how,
        f"{scores['accuracy']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{scores['macro_f1']:.3f}",
        f"{f1_low:.3f} to {f1_high:.3f}",
        scores["n"],
    ]


def _lines(report: dict[str, Any]) -> list[str]:
    """What the figures do and do not say."""
    lines = [f"note: {note}" for note in report["notes"]]
    if report["stopped"]:
        lines.append(f"training ended early: {report['stopped']}")
    lines += [_undecided(one) for one in report["comparisons"] if not one["told_apart"]]
    suspects, curve = report["suspects"], report["learning_curve"]
    place = report.get("suspects_file")
    if suspects and suspects["count"]:
        if place:
            lines.append(
                f"{place} lists {counted(suspects['count'], 'label')} that may be wrong, the least "
                "believed first; its score is 0.5 where the likelier class is as probable as the "
                "given one, and 1 where it is certain"
            )
        done = {
            "keep": "they were learned as they are" if place else "--suspects FILE.csv lists them",
            "drop": f"{suspects['changed']} were not learned from",
            "relabel": f"{suspects['changed']} were learned as the likelier class",
        }
        lines.append(
            f"{suspects['count']} of {suspects['of']} labels may be wrong; "
            f"{done[suspects['treatment']]}"
        )
    elif suspects and (place or not suspects["reliable"]):
        right = suspects["reliable"]
        why = "no label seems wrong" if right else "the head is too inaccurate to flag label errors"
        lines.append(f"{why}, so {place} lists none" if place else why)
    if curve:
        lines.append(curve["sentence"])
    if report["conclusion"]:
        lines.append(report["conclusion"])
    return lines


def _undecided(one: dict[str, Any]) -> str:
    """A baseline that is not significantly different from the model."""
    if not one["better"] and not one["worse"]:
        return f"the model and {one['name']} are right about the same samples, {one['n']} compared"
    return (
        f"the model is not significantly different from {one['name']}: it alone is right about "
        f"{counted(one['better'], 'sample')}, {one['name']} alone about {one['worse']} "
        f"(McNemar's exact test, p {one['p']:.2g})"
    )
