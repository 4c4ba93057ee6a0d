"""`zooadapt adapt`."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.data.options import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime import distributed
from zooadapt.runtime.options import Group
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.wording import counted
from zooadapt.tasks import DEFAULT, named
from zooadapt.tasks.figures import Shown
from zooadapt.training.options import AdaptOptions

if TYPE_CHECKING:
    from zooadapt.tasks.task import Task

PAGE = "report.html"


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
@shared.option(
    "--open", "opens", is_flag=True, help="Show report.html in the browser.", group=Group.OUTPUT
)
@shared.as_json
def adapt(as_json: bool, opens: bool, **options: Any) -> None:
    """Adapt SOURCE to DATA and write the model to the folder OUT.

    SOURCE is the pretrained model, [FAMILY:]LOCATION[@REVISION]: a Hub repo id, a folder or the
    name of a bundled model; or best, which ranks those on this machine and takes the winner. DATA
    is a folder of class folders, a CSV, JSON or Parquet file, or hf:ID.
    """
    from zooadapt.cli import Interrupted
    from zooadapt.training.config import Request

    options.pop("why")
    if opens and options["plan_only"]:
        raise UsageError(
            "--open shows the report of a run, and --plan runs nothing",
            thing="--open",
            remedy="give one of them",
        )
    origin = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in options if origin(name) is ParameterSource.COMMANDLINE)
    request = Request(reading=shared.read_options(options), typed=typed, **options)
    from zooadapt.workflows.inputs import open_inputs

    display = progress(as_json)
    inputs = open_inputs(request, display)
    display.doing("importing torch")
    with inputs.clock.part("imports"):
        from zooadapt.workflows.adapt import adapt as run

    try:
        result = run(request, display, opened=inputs)
    except Interrupted:
        display.say(_resume_line(request.out))
        raise
    written = "out" in result.report
    emit(result.report, as_json, lambda: _show(result.report), stands=written)
    if opens and written and distributed.is_main():
        _open(request.out, display)


def _open(out: Path, display: Progress) -> None:
    page = (out / PAGE).absolute()
    if not webbrowser.open(page.as_uri()):
        display.say(f"note: no browser starts here; open '{page}' in one")


def _resume_line(out: Path) -> str:
    from zooadapt.training.resume import folder_of

    checkpoint = folder_of(out)
    if not checkpoint.exists():
        return "interrupted before there was anything to resume"
    words = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    command = shlex.join(["zooadapt", *words, "--resume"])
    return f"interrupted: the checkpoint is in '{checkpoint}'. Continue with: {command}"


def _show(report: dict[str, Any]) -> None:
    if "out" not in report:
        for note in report["notes"]:
            say(f"note: {note}")
        return
    held_out = report["plan"]["val"]
    shown = named(report["task"]).shown
    rows = [] if _only_learned(report) else [_row(shown, "val", held_out, report["val"])]
    if report["test"]:
        rows.append(_row(shown, "test", "test part", report["test"]))
    for name, scores in report["test_baselines"].items():
        rows.append(_row(shown, name, "test part", scores))
    baselines = {} if _only_learned(report) else report["baselines"]
    for name, scores in baselines.items():
        measured_on = held_out if scores["n"] == report["val"]["n"] else "held out"
        rows.append(_row(shown, name, scores.get("how", measured_on), scores))
    figures = [heading for one in shown for heading in (one.title, "95 % interval")]
    last = 2 + len(figures)
    spare = [*range(last - 1, 3, -1), last]
    table("", ["", "measured on", *figures, "n"], rows, spare=spare)
    for line in _lines(report):
        say(line)
    seconds = report["seconds"]
    parts = ", ".join(
        f"{name} {value:.1f}"
        for name, value in seconds.items()
        if name != "total" and value >= 0.05
    )
    say(f"{seconds['total']:.1f} s of work ({parts})")
    say(f"report: {Path(report['out'], PAGE)}")
    say(f"model: {report['out']}")


def _only_learned(report: dict[str, Any]) -> bool:
    """Whether the pretrained model had been trained on every sample that `val` was measured on."""
    samples, learned = report["data"]["samples"], report["data"]["learned_before"]
    part = "val" if "val" in samples else "train"
    return bool(learned[part] == samples[part])


def _row(shown: Sequence[Shown], name: str, measured_on: str, scores: dict[str, Any]) -> list[Any]:
    figures = [cell for one in shown for cell in (one.text(scores), one.range(scores))]
    return [name, measured_on, *figures, scores["n"]]


def _lines(report: dict[str, Any]) -> list[str]:
    """Sentences below the table: notes, comparisons, label issues, the learning curve."""
    lines = [f"note: {note}" for note in report["notes"]]
    if report["chosen_from"]:
        from zooadapt.workflows import best

        lines.append(
            f"source: {report['source']['location']}, {best.sentence(report['chosen_from'])}"
        )
    if report["stopped"]:
        lines.append(f"training ended early: {report['stopped']}")
    task = named(report.get("task", DEFAULT))
    lines += [_tie(one, task) for one in report["comparisons"] if not one["told_apart"]]
    issues, curve = report["suspects"], report["learning_curve"]
    file = report.get("suspects_file")
    if issues and issues["count"]:
        if file:
            lines.append(
                f"{file} lists {counted(issues['count'], 'label')} that may be wrong, the most "
                "suspicious first; its score is 0.5 if the likelier class is as probable as the "
                "label, and 1 if it is certain"
            )
        action = {
            "keep": "training used them as they are" if file else "--suspects FILE.csv lists them",
            "drop": f"training excluded {issues['changed']}",
            "relabel": f"training used the likelier class for {issues['changed']}",
        }[issues["treatment"]]
        lines.append(f"{issues['count']} of {issues['of']} labels may be wrong; {action}")
    elif issues and (file or not issues["reliable"]):
        reason = (
            "no label seems wrong"
            if issues["reliable"]
            else "the head is too inaccurate to flag label errors"
        )
        lines.append(f"{reason}, so {file} lists none" if file else reason)
    if curve:
        lines.append(curve["sentence"])
    if report["conclusion"]:
        lines.append(report["conclusion"])
    return lines


def _tie(one: dict[str, Any], task: type[Task]) -> str:
    """A baseline that is not significantly different from the model."""
    if not one["better"] and not one["worse"]:
        return f"the model and {one['name']} are right about the same samples, {one['n']} compared"
    return (
        f"the model is not significantly different from {one['name']}: it alone is {task.nearer} "
        f"{counted(one['better'], 'sample')}, {one['name']} alone about {one['worse']} "
        f"({task.test}, p {one['p']:.2g})"
    )
