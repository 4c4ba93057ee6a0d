"""`adapt best`: the pretrained model that `rank` chooses, in place of one that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zooadapt.errors import DataError, UsageError
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.training.config import Request
from zooadapt.training.resume import Interrupted
from zooadapt.workflows.rank_options import RankRequest

BEST = "best"
"""In place of a source. A path of that name is itself, like any other path."""
SHARE = 0.2
"""Of the budget of a run that its ranking may take."""
_AS_IN_RANK = ("labels_per_class", "input_size", "max_length", "batch_size", "seed", "cache_gb",
               "offline", "reading")  # fmt: skip


def is_best(request: Request) -> bool:
    """Whether the user left the choice of the source to a ranking.

    Raises: UsageError for options that contradict it.
    """
    best = request.source == BEST and not Path(BEST).exists()
    if best and request.from_scratch:
        raise UsageError(
            "'best' chooses by pretrained weights, and --from-scratch discards them",
            thing="--from-scratch",
            remedy="name a source, or leave --from-scratch out",
        )
    if request.candidates is not None and not best:
        raise UsageError(
            "--candidates are what 'best' chooses from, and this run names its source",
            thing="--candidates",
            remedy="give best as the source, or leave --candidates out",
        )
    return best


def rank_candidates(
    request: Request, progress: Progress, clock: Clock, *, data: object = None
) -> dict[str, Any]:
    """The ranking that chooses, of the candidates or of what is on this machine, within `SHARE` of
    the budget.

    Raises: as `rank`.
    """
    progress.doing("importing torch")
    with clock.part("imports"):
        from zooadapt.training.setup import seconds_for
        from zooadapt.workflows.rank import rank
    usual = RankRequest(data=request.data)
    names = [] if request.candidates is None else request.candidates.split(",")
    ranked = replace(
        usual,
        sources=tuple(name.strip() for name in names if name.strip()),
        budget=min(usual.budget, SHARE * seconds_for(request)),
        **{name: getattr(request, name) for name in _AS_IN_RANK},
    )
    with clock.part("rank"):
        ranking = rank(ranked, progress, data=data)
    for sentence in ranking["conclusion"]:
        progress.say(sentence)
    return ranking


def chosen_before(interrupted: Interrupted) -> Mapping[str, Any]:
    """The ranking of an interrupted run.

    Raises: DataError where the user had named the source of that run.
    """
    if interrupted.ranking is None:
        raise DataError(
            "the interrupted run had a source that was named, not 'best'",
            thing="best",
            remedy="name the source of that run, or run it without --resume",
        )
    return interrupted.ranking


def summary(ranking: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says of the ranking: no path of this machine."""
    return {
        "sources": [
            {
                "source": _public(one["source"]),
                "chosen": one["source"] == ranking["choice"],
                "tied": one["tied"],
                "accuracy": one["accuracy"],
                "interval": one["interval"],
                "n": one["n"],
                "failed": None if one["error"] is None else one["error"]["kind"],
            }
            for one in ranking["sources"]
        ],
        **{key: ranking[key] for key in ("helps", "transfers", "level", "stopped")},
        "seconds": ranking["seconds"]["total"],
    }


def sentence(chosen_from: Mapping[str, Any]) -> str:
    """A summary for people."""
    measured = [one for one in chosen_from["sources"] if one["accuracy"] is not None]
    failed = len(chosen_from["sources"]) - len(measured)
    n = measured[0]["n"]
    figures = ", ".join(
        f"{one['source']}{' (chosen)' if one['chosen'] else ''} {one['accuracy']:.3f}"
        + (f" (of {one['n']})" if one["n"] != n else "")
        for one in measured
    )
    more = f"; {failed} failed" if failed else ""
    return (
        f"chosen by leave-one-out accuracy of a linear probe on {n} training "
        f"samples: {figures}{more}"
    )


def _public(name: str) -> str:
    return Path(name).name if Path(name).exists() else name
