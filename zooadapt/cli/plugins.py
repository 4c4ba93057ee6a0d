"""`zooadapt plugins list`, `check` and `new`: the plugin author's commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zooadapt.cli.commands import Group
from zooadapt.cli.output import emit, progress, say, table

if TYPE_CHECKING:
    from zooadapt.testing import Outcome

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group(cls=Group)
def plugins() -> None:
    """List, check and create plugins."""


@plugins.command("list", short_help="Installed families; a broken one with its reason.")
@_json
def list_plugins(as_json: bool) -> None:
    """Installed families and what they claim; a broken one with its reason."""
    from zooadapt import registry

    found = registry.describe()

    def show() -> None:
        for one in found:
            flags = "".join(f", {flag}" for flag in one["can"])
            what = f"interface {one['api']}, {one['modality']}{flags}" if one["api"] else "broken"
            say(f"{one['name']}: {one['distribution']} {one['version']}, {what}")
            if one["error"]:
                lines = [one["error"], f"try: {one['remedy']}"]
            else:
                lines = [one["claims"], *(f"bundles {name}" for name in one["bundled"])]
            for line in (*lines, one["where"]):
                say(f"    {line}")

    emit({"plugins": found}, as_json, show)


@plugins.command(short_help="Check that a plugin keeps the contract.")
@click.argument("name")
@click.option("--source", help="Check with this source's config and weights.")
@click.option("--online", is_flag=True, help="The source may be downloaded.")
@_json
def check(name: str, source: str | None, online: bool, as_json: bool) -> None:
    """Check that plugin NAME keeps the contract, through its real entry point.

    Without --source: on small networks with random weights, as the plugin's examples say.
    """
    from zooadapt import registry

    family = registry.plain(name)
    from zooadapt import testing

    cases = testing.cases(family, source=source, offline=not online)
    outcomes: list[Outcome] = []
    with progress(as_json).task("checks", len(cases) * len(testing.CHECKS)) as advance:
        for case in cases:
            for outcome in testing.run(case):
                outcomes.append(outcome)
                advance(1)
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
    table("", ["check", "result", ""], [_row(name, of) for name, of in by_check.items()])
    for outcome in outcomes:
        if outcome.status == "fail":
            say()
            say(f"{outcome.check} on {outcome.case}: {outcome.clause}")
            say(f"  declared: {outcome.declared}")
            say(f"  actual:   {outcome.actual}")
            say(f"  do:       {outcome.remedy}")
    say(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """A check over all cases: what is worst, and on which or why."""
    for status in ("fail", "pass", "skip"):
        of = [outcome for outcome in outcomes if outcome.status == status]
        if of and status == "fail":
            return [name, "fail", "on " + ", ".join(outcome.case for outcome in of)]
        if of and status == "pass":
            return [name, "pass", ""]
    return [name, "skip", outcomes[0].actual]


@plugins.command(short_help="Write a plugin to start from.")
@click.argument("name")
@click.option(
    "--modality", type=click.Choice(["image", "text"]), default="image", show_default=True
)
@_json
def new(name: str, modality: str, as_json: bool) -> None:
    """Write a plugin to start from to the folder zooadapt-NAME; it passes its checks as it is."""
    from zooadapt.scaffold import write_plugin

    folder = write_plugin(name, modality, Path.cwd())
    result: dict[str, Any] = {"out": str(folder), "name": name, "modality": modality}

    def show() -> None:
        say(f"{folder}: install it with `pip install -e {folder.name}[test]`, then")
        say(f"`zooadapt plugins check {name}`; its README.md says how to go on")

    emit(result, as_json, show, stands=True)
