"""What `rank` answers: a row for each source and baseline, and the conclusion in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zooadapt.data import Dataset
from zooadapt.errors import ZooadaptError
from zooadapt.tasks import metrics
from zooadapt.workflows import advice
from zooadapt.workflows.expected_accuracy import coefficients, expect
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
    order = ranked(rounds)
    unmeasured = {name: error for name, error in failures.items() if name not in order}
    idle = tuple(name for name in order if not rounds[0].gains(name))
    helping = [name for name, one in order.items() if one.helps(name)]
    transfers = bool({*helping} - {*idle})
    perfect = bool(last.measurements[last.order[0]].head.right.all())
    labels = _labels([*order, *unmeasured])
    others = [] if transfers or perfect else advice.worth_trying(list(sources.values()))
    more = [f"{labels[name]}: {note}" for name, one in order.items()
            for note in one.measurements[name].notes]  # fmt: skip
    more += [f"{labels[name]} failed on a larger sample: {error}"
             for name, error in failures.items() if name in order]  # fmt: skip
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
                _row(name, sources[name], one, rounds) | {"name": labels[name]}
                for name, one in order.items()
            ),
            *(_failed(name, error) | {"name": labels[name]} for name, error in unmeasured.items()),
        ],
        "baselines": [_baseline(one) for one in last.baselines],
        "best": last.order[0],
        "tied": list(last.tied),
        "choice": last.choice,
        "helps": bool(helping),
        "transfers": transfers,
        "worth_trying": others,
        "level": last.level,
        "stopped": stopped,
        "conclusion": [
            *_ties(last, order, labels, stopped),
            *_idle(rounds[0], idle, labels),
            *(_help(last, order, labels) if helping else _no_help(last)),
            *_training(last, labels, data.modality),
            *_worth_trying(others),
        ],
        "notes": [*notes, *more],
        "seed": request.seed,
        "budget": request.budget,
        "seconds": dict(seconds),
    }


def ranked(rounds: Sequence[Round]) -> dict[str, Round]:
    """Every measured source, best first, with its last round: later rounds hold the better ones."""
    order: dict[str, Round] = {}
    for one in reversed(rounds):
        order |= {name: one for name in one.order if name not in order}
    return order


def _row(name: str, source: Source, one: Round, rounds: Sequence[Round]) -> dict[str, Any]:
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
        "logme": measurement.log_evidence,
        "h_score": measurement.h_score,
        "untrained": _untrained(name, rounds[0]),
        "expected": _expected(head.accuracy, one.n, source.family.modality),
        "n": one.n,
        "better_than": list(one.better_than(name)),
        "tied": name in rounds[-1].tied,
        "comparison": None if comparison is None else asdict(comparison) | {"name": one.order[0]},
        "parameters": measurement.parameters,
        "seconds": measurement.cost.seconds,
        "memory_bytes": measurement.cost.memory_bytes,
        "input": measurement.input,
        "error": None,
    }  # fmt: skip


_FIGURES = ("family", "revision", "license", "accuracy", "interval", "loss", "depth", "neighbours",
            "logme", "h_score", "untrained", "expected", "n", "comparison", "parameters", "seconds",
            "memory_bytes", "input")  # fmt: skip


def _failed(name: str, error: ZooadaptError) -> dict[str, Any]:
    """A row of the same keys, without figures."""
    reason = {"kind": type(error).__name__, "message": str(error), "remedy": error.remedy}
    row = {"source": name, "better_than": [], "tied": False, "error": reason}
    return dict.fromkeys(_FIGURES) | row


def _expected(accuracy: float, n: int, modality: str) -> dict[str, Any] | None:
    """What `auto` is expected to reach on as many samples."""
    expected = expect(accuracy, n, modality=modality)
    if expected is None:
        return None
    return {"accuracy": expected.accuracy, "interval": list(expected.interval)}


def _untrained(name: str, first: Round) -> dict[str, Any] | None:
    """The network of a source with random weights, on the first sample."""
    measurement, gain = first.measurements[name], first.gain(name)
    if gain is None or measurement.untrained is None:
        return None
    return {
        "accuracy": measurement.untrained.accuracy,
        "loss": measurement.untrained.loss,
        "n": first.n,
        "better": gain.better,
        "worse": gain.worse,
        "p": gain.p,
        "gains": first.gains(name),
    }


def _baseline(one: BaselineScore) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "how": one.how,
        "accuracy": one.accuracy,
        "interval": list(metrics.wilson(one.right.sum(), len(one.right))),
        "n": len(one.right),
    }


def _ties(
    last: Round, order: Mapping[str, Round], labels: Mapping[str, str], stopped: str
) -> list[str]:
    """Which sources are significantly different from the best one, and on what samples."""
    tied, choice, sentences = [labels[name] for name in last.tied], last.choice, []
    if len(tied) > 1:
        milliseconds = 1000 * last.measurements[choice].cost.seconds
        why = f"the cheapest of them with {milliseconds:.1f} ms a sample"
        if last.close != last.tied:
            why = "the only one of them" if len(last.close) == 1 else "the cheapest of those"
            why += " that no other is ahead of by more than a standard error"
            if len(last.close) > 1:
                why = f"{why}, with {milliseconds:.1f} ms a sample"
        sentences.append(
            f"{' and '.join(tied)} are not significantly different (McNemar's exact test on "
            f"{last.n} samples{_WHY[stopped]}): take {labels[choice]}, {why}"
        )
    elif len(order) > 1:
        others = "the other one is" if len(order) == 2 else "the others are"
        sentences.append(
            f"{tied[0]} is the best: {others} significantly worse on the same samples "
            "(McNemar's exact test)"
        )
    fewer = {name: one.n for name, one in order.items() if one.n < last.n}
    for n in dict.fromkeys(fewer.values()):
        names = [labels[name] for name, own in fewer.items() if own == n]
        was = "was" if len(names) == 1 else "were"
        sentences.append(
            f"{', '.join(names)} {was} ruled out by {n} samples and not measured on {last.n}, "
            "where the order may be another one"
        )
    return sentences


def _idle(first: Round, idle: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """The sources that are no better than their networks with random weights."""
    if not idle:
        return []
    names, verb = [labels[name] for name in idle], "is" if len(idle) == 1 else "are"
    return [
        f"{', '.join(names)} {verb} not significantly better than the same network with random "
        f"weights ({first.n} samples): what was learned before does not help here"
    ]


def _no_help(last: Round) -> list[str]:
    strongest = max(last.baselines, key=lambda one: one.accuracy)
    return [
        f"no source here helps: none is significantly better than {strongest.name} "
        f"({strongest.accuracy:.3f})"
    ]


def _training(last: Round, labels: Mapping[str, str], modality: str) -> list[str]:
    """What to expect of training the source that is chosen."""
    expected = expect(last.measurements[last.choice].head.accuracy, last.n, modality=modality)
    if expected is None:
        return []
    low, high = expected.interval
    return [
        f"adapt {labels[last.choice]} with {last.n} samples for ten minutes: expected accuracy "
        f"{expected.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}), by "
        f"{coefficients()['rows']} runs on {coefficients()['data_sets']} data sets"
    ]


def _worth_trying(others: Sequence[Mapping[str, Any]]) -> list[str]:
    if not others:
        return []
    names = [f"{one['source']} ({one['note']})" if one["note"] else one["source"] for one in others]
    return [f"worth trying: {', '.join(names)}"]


def _help(last: Round, order: Mapping[str, Round], labels: Mapping[str, str]) -> list[str]:
    """What limits the help of the sources, where one of them helps."""
    sentences, choice = [], last.choice
    for one in last.baselines:
        weak = [labels[name] for name, own in order.items()
                if one.name not in own.better_than(name)]  # fmt: skip
        if weak:
            verb = "is" if len(weak) == 1 else "are"
            sentences.append(f"{', '.join(weak)} {verb} not significantly better than {one.name}")
    measurement = last.measurements[choice]
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
