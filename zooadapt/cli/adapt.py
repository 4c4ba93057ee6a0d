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
from zooadapt.data.options import ReadOptions
from zooadapt.runtime.options import Group
from zooadapt.runtime.wording import counted
from zooadapt.training.options import AdaptOptions


@command(example="zooadapt adapt timm/mobilenetv2_100.ra_in1k flowers -o flowers-model")
@click.argument("source")
@click.argument("data")
@shared.out("New folder for the model.", required=True)
@shared.option("--why", is_flag=True, hidden=True, help="Every run says why; scripts may pass it.")
@shared.options_of(ReadOptions)
@shared.options_of(AdaptOptions)
@shared.option(
    "--plan",
    "plan_only",
    is_flag=True,
    help="Print what would be done, with its seconds, memory and disk, and stop.",
    group=Group.STRATEGY,
)
@shared.as_json
def adapt(as_json: bool, **options: Any) -> None:
    """Adapt SOURCE to DATA and write the model to the folder OUT.

    SOURCE is the pretrained model, [FAMILY:]LOCATION[@REVISION]: a Hub repo id, a folder or the
    name of a bundled model. DATA is a folder of class folders, a CSV, JSON or Parquet file, or
    hf:ID.
    """
    from zooadapt.cli import Interrupted
    from zooadapt.training.config import Request

    options.pop("why")
    source_of = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in options if source_of(name) is ParameterSource.COMMANDLINE)
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
