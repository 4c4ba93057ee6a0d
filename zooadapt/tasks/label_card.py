"""What a card says of a model of several labels."""

from __future__ import annotations

from collections.abc import Sequence

from zooadapt.runtime.markdown import escape, table
from zooadapt.runtime.wording import counted
from zooadapt.tasks.label_lists import rows
from zooadapt.tasks.label_metrics import Interval, LabelMetrics

_MOST_LISTED = 1000
_FEW = 10


def summary(measured: Sequence[tuple[str, LabelMetrics]]) -> list[str]:
    """The figures of every part and baseline, by its label."""
    columns = ["measured on", "mAP (95 % interval)", "micro F1", "macro F1", "n"]
    lines = [
        [
            label,
            _with(one.mean_average_precision, one.interval),
            _with(one.micro_f1, one.micro_f1_interval),
            _with(one.macro_f1, one.macro_f1_interval),
            one.n,
        ]
        for label, one in measured
    ]
    return [
        table(columns, lines),
        "mAP is the mean over the labels of their average precision, F1 that of the labels whose "
        "probability reaches their threshold.\n",
    ]


def sections(metrics: LabelMetrics) -> list[str]:
    """The scores of each label."""
    parts = ["## Labels\n"]
    if len(metrics.labels) > _MOST_LISTED:
        return [*parts, f"`config.json` names all {len(metrics.labels):,} of them.\n"]
    columns = ["label", "n", "average precision", "95 % interval", "precision", "recall", "F1",
               "threshold"]  # fmt: skip
    return [*parts, table(columns, [[escape(name), *rest] for name, *rest in rows(metrics)])]


def limits(metrics: LabelMetrics) -> list[str]:
    """What the model cannot do, and labels that few samples measured."""
    lines = [
        "It knows the labels above alone, and may answer with none of them.",
        "Each label's threshold is the one with the highest F1 on the validation, so that F1 there "
        "is optimistic; that of test is not affected.",
    ]
    few = sum(one.n < _FEW for one in metrics.labels)
    if few:
        rare = counted(few, "label", "labels")
        lines.append(f"The scores of {rare} were measured on fewer than {_FEW} samples with it.")
    return lines


def _with(score: float, interval: Interval) -> str:
    return f"{score:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
