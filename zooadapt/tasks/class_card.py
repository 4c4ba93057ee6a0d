"""What a card says of a model of classes."""

from __future__ import annotations

from collections.abc import Sequence

from zooadapt.runtime.markdown import escape, table
from zooadapt.runtime.wording import counted
from zooadapt.tasks.metrics import BINS, Metrics

_MOST_CROSSED = 40
_MOST_LISTED = 1000
_FEW = 10


def summary(measured: Sequence[tuple[str, Metrics]]) -> list[str]:
    """The figures of every part and baseline, by its label."""
    columns = ["measured on", "accuracy (95 % interval)", "macro F1", "calibration error", "n"]
    rows = [
        [label, _percent(one), f"{one.macro_f1:.3f}", _error(one), one.n] for label, one in measured
    ]
    return [
        table(columns, rows),
        f"The calibration error is the expected one over {BINS} bins of equally many predictions; "
        "in brackets what so few would show if every confidence were exact.\n",
    ]


def sections(classes: Sequence[str], metrics: Metrics) -> list[str]:
    """The recall of each class, and the confusion matrix of few."""
    parts = ["## Classes\n", _recalls(classes, metrics)]
    if len(classes) <= _MOST_CROSSED:
        head = ["", *map(escape, classes)]
        pairs = zip(classes, metrics.confusion.matrix(), strict=True)
        rows = [[f"**{escape(name)}**", *row] for name, row in pairs]
        parts += ["## Confusion\n", "Rows are true classes, columns predictions.\n"]
        parts.append(table(head, rows))
    return parts


def limits(metrics: Metrics) -> list[str]:
    """What the model cannot do, and classes that few samples measured."""
    lines = ["It answers with one of the classes above, whatever it is shown."]
    few = int((metrics.confusion.of_class < _FEW).sum())
    if few:
        rare = counted(few, "class", "classes")
        lines.append(f"The recall of {rare} was measured on fewer than {_FEW} samples.")
    return lines


def _recalls(classes: Sequence[str], metrics: Metrics) -> str:
    if len(classes) > _MOST_LISTED:
        return f"`config.json` names all {len(classes):,} of them.\n"
    true, hits = metrics.confusion.of_class, metrics.confusion.hits
    rows = [
        [k, escape(name), f"{hits[k] / true[k]:.3f}" if true[k] else "–", true[k]]
        for k, name in enumerate(classes)
    ]
    return table(["#", "class", "recall", "n"], rows)


def _percent(metrics: Metrics) -> str:
    low, high = metrics.interval
    return f"{metrics.accuracy:.3f} ({low:.3f} to {high:.3f})"


def _error(metrics: Metrics) -> str:
    calibration = metrics.calibration
    return "–" if calibration is None else f"{calibration.error:.3f} ({calibration.by_chance:.3f})"
