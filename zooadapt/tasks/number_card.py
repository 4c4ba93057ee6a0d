"""What a card says of a model of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zooadapt.runtime.markdown import escape, table
from zooadapt.tasks.number_metrics import Estimate, NumberMetrics
from zooadapt.tasks.predictions import figure


def hub_metrics(metrics: NumberMetrics) -> list[dict[str, Any]]:
    """The scores as the Hub's `model-index` has them."""
    scores = metrics.summary()
    names = {"mae": "mae", "mse": "rmse", "r_squared": "r2", "pearsonr": "pearson",
             "spearmanr": "spearman"}  # fmt: skip
    values = {
        kind: scores[key] ** 2 if kind == "mse" else scores[key] for kind, key in names.items()
    }
    return [{"type": kind, "value": round(value, 6)} for kind, value in values.items()]


def summary(measured: Sequence[tuple[str, NumberMetrics]]) -> list[str]:
    """The figures of every part and baseline, by its label."""
    rows = []
    for label, metrics in measured:
        each = metrics.summary()
        low, high = each["r2_interval"]
        rows.append([
            label,
            f"{each['r2']:.3f} ({low:.3f} to {high:.3f})",
            *(figure(each[key]) for key in ("mae", "rmse")),
            *(f"{each[key]:.3f}" for key in ("pearson", "spearman")),
            metrics.n,
        ])  # fmt: skip
    columns = ["measured on", "R2 (95 % interval)", "MAE", "RMSE", "Pearson", "Spearman", "n"]
    return [table(columns, rows)]


def sections(names: Sequence[str], metrics: NumberMetrics) -> list[str]:
    """The scores of each column, and whether intervals hold."""
    rows = [
        [
            escape(one.name),
            _estimate(one.r2),
            _estimate(one.mae),
            _estimate(one.rmse),
            _estimate(one.coverage) if one.coverage else "–",
        ]
        for one in metrics.columns
    ]
    columns = ["column", "R2", "MAE", "RMSE", "within the 90 % interval"]
    return ["## Numbers\n", "Every figure with its 95 % interval.\n", table(columns, rows)]


def limits(metrics: NumberMetrics) -> list[str]:
    """What the model cannot do."""
    return [
        "It answers with a number, whatever it is shown.",
        "Numbers beyond those that it was trained on are guesses.",
    ]


def _estimate(one: Estimate) -> str:
    low, high = one.interval
    return f"{figure(one.value)} ({figure(low)} to {figure(high)})"
