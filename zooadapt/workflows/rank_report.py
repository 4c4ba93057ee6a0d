"""What `rank` answers: a row for each source and baseline, and the conclusion in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zooadapt.data import Dataset
from zooadapt.errors import ZooadaptError
from zooadapt.heads import metrics
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.workflows.ranking import BaselineScore, Round, compare
from zooadapt.zoo.sources import Source

DECIDED = "decided"
BUDGET = "the budget"
ALL = "all samples"
LARGEST = "the largest sample"
FAILED = "failures"
"""Why the sample grew no further."""
_WHY = {
    DECIDED: "",
    BUDGET: ", as many as --budget allows",
    ALL: ", all there are",
    LARGEST: ", the most that are used",
    FAILED: ", since they failed on more",
}


def report(
    request: RankRequest,
    data: Dataset,
    sources: Mapping[str, Source],
    failures: Mapping[str, ZooadaptError],
    rounds: Sequence[Round],
    *,
    pool: int,
    stopped: str,
    notes: Sequence[str],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The result as JSON. rounds: at least one; a source's figures are those of its last round.
    pool: the number of training samples that the sample is drawn from."""
    last = rounds[-1]
    ranked = _ranked(rounds)
    unmeasured = {name: error for name, error in failures.items() if name not in ranked}
    helping = [name for name, one in ranked.items() if one.helps(name)]
    labels = _labels([*ranked, *unmeasured])
    more = [f"{labels[name]}: {note}" for name, one in ranked.items()
            for note in one.measurements[name].notes]  # fmt: skip
    more += [f"{labels[name]} failed on a larger sample: {error}"
             for name, error in failures.items() if name in ranked]  # fmt: skip
    return {
        "data": {
            "name": data.name,
            "modality": data.modality,
            "classes": len(data.classes),
            "samples": len(data.train),
            "distinct": pool,
        },
        "sources": [
            *(
                _row(name, sources[name], one, last) | {"name": labels[name]}
                for name, one in ranked.items()
            ),
            *(_failed(name, error) | {"name": labels[name]} for name, error in unmeasured.items()),
        ],
        "baselines": [_baseline(one) for one in last.baselines],
        "best": last.order[0],
        "tied": list(last.tied),
        "choice": last.cheapest,
        "helps": bool(helping),
        "stopped": stopped,
        "conclusion": _sentences(last, ranked, helping, labels, stopped),
        "notes": [*notes, *more],
        "seed": request.seed,
        "budget": request.budget,
        "seconds": dict(seconds),
    }


def _ranked(rounds: Sequence[Round]) -> dict[str, Round]:
    """Every measured source, best first, with its last round: later rounds hold the better ones."""
    ranked: dict[str, Round] = {}
    for one in reversed(rounds):
        ranked |= {name: one for name in one.order if name not in ranked}
    return ranked


def _row(name: str, source: Source, one: Round, last: Round) -> dict[str, Any]:
    measurement, comparison = one.measurements[name], one.comparisons.get(name)
    head, stage = measurement.head, measurement.stage_head
    return {
        "source": name,
        "family": source.family.name,
        "revision": source.origin.revision,
        "license": source.origin.license,
        "accuracy": head.accuracy,
        "interval": list(metrics.wilson(head.right.sum(), one.n)),
        "loss": head.loss,
        "depth": {
            "stage": measurement.stage, "accuracy": stage.accuracy, "loss": stage.loss,
        },
        "neighbours": measurement.neighbours,
        "n": one.n,
        "better_than": list(one.better_than(name)),
        "tied": name in last.tied,
        "comparison": None if comparison is None else asdict(comparison) | {"name": one.order[0]},
        "parameters": measurement.parameters,
        "seconds": measurement.cost.seconds,
        "memory_bytes": measurement.cost.memory_bytes,
        "input": measurement.input,
        "error": None,
    }  # fmt: skip


_FIGURES = ("family", "revision", "license", "accuracy", "interval", "loss", "depth", "neighbours",
            "n", "comparison", "parameters", "seconds", "memory_bytes", "input")  # fmt: skip


def _failed(name: str, error: ZooadaptError) -> dict[str, Any]:
    """A row of the same keys, without figures."""
    reason = {"kind": type(error).__name__, "message": str(error), "remedy": error.remedy}
    row = {"source": name, "better_than": [], "tied": False, "error": reason}
    return dict.fromkeys(_FIGURES) | row


def _baseline(one: BaselineScore) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "how": one.how,
        "accuracy": one.accuracy,
        "interval": list(metrics.wilson(one.right.sum(), len(one.right))),
        "n": len(one.right),
    }


def _sentences(
    last: Round,
    ranked: Mapping[str, Round],
    helping: Sequence[str],
    labels: Mapping[str, str],
    stopped: str,
) -> list[str]:
    tied, choice = [labels[name] for name in last.tied], last.cheapest
    measurement = last.measurements[choice]
    sentences = []
    if len(tied) > 1:
        sentences.append(
            f"{' and '.join(tied)} are not significantly different (McNemar's exact test on "
            f"{last.n} samples{_WHY[stopped]}): take {labels[choice]}, the cheapest of them with "
            f"{1000 * measurement.cost.seconds:.1f} ms a sample"
        )
    elif len(ranked) > 1:
        others = "the other one is" if len(ranked) == 2 else "the others are"
        sentences.append(
            f"{tied[0]} is the best: {others} significantly worse on the same samples "
            "(McNemar's exact test)"
        )
    if not helping:
        strongest = max(last.baselines, key=lambda one: one.accuracy)
        sentences.append(
            f"no source here helps: none is significantly better than {strongest.name} "
            f"({strongest.accuracy:.3f})"
        )
        return sentences
    for one in last.baselines:
        weak = [labels[name] for name, own in ranked.items()
                if one.name not in own.better_than(name)]  # fmt: skip
        if weak:
            verb = "is" if len(weak) == 1 else "are"
            sentences.append(f"{', '.join(weak)} {verb} not significantly better than {one.name}")
    head, stage = measurement.head, measurement.stage_head
    depth = compare(measurement.stage, stage.right, head.right, last.groups)
    if depth.significant and depth.better > depth.worse:
        sentences.append(
            f"stage {measurement.stage} of {labels[choice]} predicts the classes better than its "
            f"last features ({stage.accuracy:.3f}, {head.accuracy:.3f}), which a linear probe uses"
        )
    return sentences


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Short names for people: a folder's own name where no other source has it."""
    own = {name: Path(name).name if Path(name).exists() else name for name in names}
    shared = Counter(own.values())
    return {name: label if shared[label] == 1 else name for name, label in own.items()}
