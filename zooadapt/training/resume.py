"""What an interrupted run was: its options and its plan, which a resumed run takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from zooadapt.data import ReadOptions
from zooadapt.errors import DataError, NotFoundError
from zooadapt.runtime import filesystem, model_files, outputs
from zooadapt.training.config import Request

FREE = frozenset({
    "source", "data", "out", "plan_only", "resume", "offline", "suspects", "reading", "typed",
})  # fmt: skip
"""Fields of a request that a resumed run does not take over: where things are. Their contents are
compared."""
CHANGEABLE = frozenset({"budget", "cache_gb", "checkpoint_seconds"})
"""Fields that it takes over unless the user gives others: how long and in what room it works."""


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A run as its checkpoint holds it, as JSON."""

    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    trained: float
    """Seconds of training that the saved state holds."""
    ranking: Mapping[str, Any] | None = None
    """By which its source was chosen, where the user left that to one."""


def folder_of(out: Path) -> Path:
    """Where the checkpoint of a run lies: beside its output, or in one that is filled in place."""
    return outputs.companion(out, "checkpoint")


def load(out: Path) -> Interrupted:
    """The interrupted run that was to write `out`.

    Raises: NotFoundError when there is nothing to resume; DataError for a checkpoint of a version
    that did not keep its run.
    """
    folder = folder_of(out)
    filesystem.recover(folder)
    if not folder.exists():
        raise NotFoundError(
            f"there is nothing to resume: '{folder.name}' is not there",
            thing=str(folder),
            remedy="run it without --resume",
        )
    saved = model_files.read_config(folder / "config.json")
    run = saved.get("run")
    if not isinstance(run, Mapping):
        raise DataError(
            f"'{folder.name}' was written by another version of zooadapt",
            thing="versions",
            remedy="resume with that version, or run it without --resume",
        )
    trained = saved["progress"].get("seconds", 0.0)
    return Interrupted(
        options=run["options"], plan=run["plan"], trained=trained, ranking=run.get("ranking")
    )


def options_of(request: Request) -> dict[str, Any]:
    """What decides what a run does, as JSON."""
    own = {one.name: getattr(request, one.name) for one in fields(request) if one.name not in FREE}
    return own | {one.name: getattr(request.reading, one.name) for one in fields(ReadOptions)}


def resumed_request(request: Request, run: Interrupted) -> Request:
    """The request with the interrupted run's options, among them whether it was to replace a model.

    Raises: DataError naming an option that the user gave and the run had otherwise.
    """
    options = options_of(request)
    defaults = options_of(Request(source="", data="", out=request.out))
    changed = frozenset(name for name, value in options.items() if value != defaults[name])
    typed = changed if request.typed is None else request.typed
    own = {name: value for name, value in options.items() if name in CHANGEABLE & typed}
    for name, value in options.items():
        if name in typed - CHANGEABLE and run.options.get(name, value) != value:
            option = "--" + name.replace("_", "-")
            raise DataError(
                f"the interrupted run had {run.options[name]!r} for {option}, not {value!r}",
                thing=option,
                remedy=f"leave {option} out, or run it without --resume",
            )
    known = {name: run.options.get(name, value) for name, value in options.items()} | own
    reading = {one.name: known.pop(one.name) for one in fields(ReadOptions)}
    return replace(request, **known, reading=ReadOptions(**reading), resume=False)
