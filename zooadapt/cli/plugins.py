"""`zooadapt plugins list`, `check` and `new`: the plugin author's commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zooadapt.cli import options as shared
from zooadapt.cli.commands import Group
from zooadapt.cli.output import emit, progress, say, table
from zooadapt.data.modalities.image import MODALITY as IMAGE
from zooadapt.errors import UsageError
from zooadapt.zoo.scaffold import TEMPLATES

if TYPE_CHECKING:
    from zooadapt.testing import Outcome


@click.group(cls=Group)
def plugins() -> None:
    """List, check and create plugins."""


@plugins.command(
    "list",
    short_help="List installed model families; a broken one with its error.",
    example="zooadapt plugins list",
)
@shared.as_json
def list_plugins(as_json: bool) -> None:
    """List installed model families and what they claim; a broken one with its error."""
    from zooadapt.workflows.families import families as described

    families = described()

    def show() -> None:
        for one in families:
            flags = "".join(f", {flag}" for flag in one["can"])
            is_broken = one["error"] is not None
            state = "broken" if is_broken else f"interface {one['api']}, {one['modality']}{flags}"
            say(f"{one['name']}: {one['distribution']} {one['version']}, {state}")
            if one["error"]:
                lines = [one["error"], f"try: {one['remedy']}"]
            else:
                lines = [one["claims"], *(f"bundles {name}" for name in one["bundled"])]
            for line in (*lines, one["where"]):
                say(f"    {line}")

    emit({"plugins": families}, as_json, show)


@plugins.command(
    short_help="Check that a plugin keeps the contract.", example="zooadapt plugins check timm"
)
@click.argument("name")
@shared.option(
    "--source",
    metavar="SOURCE",
    help="Pretrained model whose config and weights are checked.",
    shown_default="the plugin's examples, with random weights",
)
@shared.option("--online", is_flag=True, help="Allow the source to be downloaded.")
@shared.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help="Run this check alone; may be repeated.",
    shown_default="all",
)
@shared.option(
    "--example",
    "examples",
    multiple=True,
    metavar="NAME",
    help="Use this example alone; may be repeated.",
    shown_default="all",
)
@shared.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@shared.as_json
def check(
    name: str,
    source: str | None,
    online: bool,
    checks: tuple[str, ...],
    examples: tuple[str, ...],
    fail_fast: bool,
    as_json: bool,
) -> None:
    """Check that plugin NAME keeps the contract, through its real entry point."""
    from zooadapt.zoo import registry

    family = registry.plain(name)
    from zooadapt import testing

    if source is not None and examples:
        raise UsageError(
            "--source replaces the plugin's examples",
            thing="--example",
            remedy="leave one out",
        )
    selected = testing.select(checks)
    cases = testing.cases(family, source=source, offline=not online, examples=examples)
    outcomes: list[Outcome] = []
    with progress(as_json).task("checks", len(cases) * len(selected)) as advance:
        for outcome in (outcome for case in cases for outcome in testing.run(case, selected)):
            outcomes.append(outcome)
            advance(1)
            if fail_fast and outcome.status == "fail":
                break
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("pass", "fail", "skip")
    }
    result = {"plugin": name, **counts, "checks": [outcome.to_json() for outcome in outcomes]}
    emit(result, as_json, lambda: _show_outcomes(outcomes, counts))
    if counts["fail"]:
        click.get_current_context().exit(1)


def _show_outcomes(outcomes: Sequence[Outcome], counts: dict[str, int]) -> None:
    by_check: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_check.setdefault(outcome.check, []).append(outcome)
    table("", ["check", "result", "s", ""], [_row(name, of) for name, of in by_check.items()])
    for outcome in outcomes:
        if outcome.status == "fail":
            say()
            say(f"{outcome.check} on {outcome.case}: {outcome.clause}")
            say(f"  declared: {outcome.declared}")
            say(f"  actual:   {outcome.actual}")
            say(f"  do:       {outcome.remedy}")
    seconds = sum(outcome.seconds for outcome in outcomes)
    counted = ", ".join(f"{counts[k]} {k}ed" for k in ("pass", "fail"))
    say(f"{counted}, {counts['skip']} skipped in {seconds:.1f} s")


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """One check over all cases: its worst result, with the cases or the reason."""
    seconds = f"{sum(outcome.seconds for outcome in outcomes):.2f}"
    for status in ("fail", "pass", "skip"):
        of = [outcome for outcome in outcomes if outcome.status == status]
        if of and status == "fail":
            return [name, "fail", seconds, "on " + ", ".join(outcome.case for outcome in of)]
        if of and status == "pass":
            return [name, "pass", seconds, ""]
    return [name, "skip", seconds, outcomes[0].actual]


@plugins.command(short_help="Write a plugin to start from.", example="zooadapt plugins new mynet")
@click.argument("name")
@shared.option(
    "--modality",
    type=click.Choice(TEMPLATES),
    default=IMAGE.name,
    shown_default=IMAGE.name,
    help="What its networks take.",
)
@shared.as_json
def new(name: str, modality: str, as_json: bool) -> None:
    """Write a plugin to start from to the folder zooadapt-NAME; it passes all checks."""
    from zooadapt.zoo.scaffold import write_plugin

    folder = write_plugin(name, modality, Path.cwd())
    result: dict[str, Any] = {"out": str(folder), "name": name, "modality": modality}

    def show() -> None:
        say(f"{folder}: install it with `pip install -e {folder.name}[test]`, then")
        say(f"`zooadapt plugins check {name}`; its README.md explains the next steps")

    emit(result, as_json, show, stands=True)
