"""The confusion of classes and the recall of each, at any number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zooadapt.tasks.metrics import Confusion, wilson
from zooadapt.workflows.html_report.examples import Examples

MOST_DRAWN = 24
"""Classes of a confusion matrix that is shown as a whole; of more, those with the most errors."""
_MOST_LISTED = 24
_MOST_PAIRS = 10


def confusion(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """The matrix, and the pairs of classes that are confused most."""
    counts, names = _counts(report), report.get("classes") or ()
    if counts is None:
        return None
    wrong = counts.true != counts.predicted
    errors = np.bincount(
        np.concatenate([counts.true[wrong], counts.predicted[wrong]]),
        np.tile(counts.counts[wrong], 2),
        minlength=counts.classes,
    )
    chosen = np.arange(counts.classes)
    if counts.classes > MOST_DRAWN:
        chosen = np.sort(np.argsort(-errors, kind="stable")[:MOST_DRAWN])
    place = {int(k): row for row, k in enumerate(chosen)}
    matrix = np.zeros((len(chosen), len(chosen) + 1), dtype=np.int64)
    for true, predicted, count in zip(
        counts.true.tolist(), counts.predicted.tolist(), counts.counts.tolist(), strict=True
    ):
        if true in place:
            matrix[place[true], place.get(predicted, len(chosen))] += count
    rows = [
        {"name": names[k], "cells": row.tolist(), "total": max(1, int(row.sum()))}
        for k, row in zip(chosen.tolist(), matrix, strict=True)
    ]
    order = np.argsort(-np.where(wrong, counts.counts, 0), kind="stable")[:_MOST_PAIRS]
    pairs = [
        (names[counts.true[k]], names[counts.predicted[k]], int(counts.counts[k]))
        for k in order.tolist()
        if wrong[k]
    ]
    return {
        "rows": rows,
        "columns": [names[k] for k in chosen.tolist()],
        "pairs": pairs,
        "of": counts.classes,
        "others": len(chosen) < counts.classes,
    }


def recall(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """Recall and precision of each class, the lowest recall first."""
    counts, names = _counts(report), report.get("classes") or ()
    scores = report.get("test") or report.get("val")
    if counts is None or not scores:
        return None
    times = max(1, round(int(counts.counts.sum()) / scores["n"]))
    true, answered, hits = counts.of_class, counts.as_class, counts.hits
    measured = np.flatnonzero(true)
    shares = hits[measured] / true[measured]
    order = measured[np.lexsort((measured, shares))]
    rows = []
    for k in order[:_MOST_LISTED].tolist():
        share, n = float(hits[k] / true[k]), max(1, round(int(true[k]) / times))
        low, high = wilson(share * n, n)
        rows.append({
            "name": names[k],
            "recall": share,
            "interval": (low, high),
            "precision": float(hits[k] / answered[k]) if answered[k] else None,
            "n": n,
        })  # fmt: skip
    return {"rows": rows, "of": len(measured), "absent": counts.classes - len(measured)}


def labels(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """The scores of each label of which a sample has several, the lowest first."""
    measured = [one for one in report.get("labels") or () if one["average_precision"] is not None]
    rows = sorted(measured, key=lambda one: one["average_precision"])[:_MOST_LISTED]
    return {"rows": rows, "of": len(report["labels"])} if rows else None


def _counts(report: Mapping[str, Any]) -> Confusion | None:
    """The confusion of a report, in either of its two forms."""
    classes = len(report.get("classes") or ())
    cells = report.get("confusion_cells")
    if cells is None and classes and report.get("confusion") is not None:
        matrix = np.array(report["confusion"], dtype=np.int64).reshape(classes, classes)
        true, predicted = np.nonzero(matrix)
        cells = np.stack([true, predicted, matrix[true, predicted]], axis=1).tolist()
    if not cells or not classes:
        return None
    true, predicted, counts = np.array(cells, dtype=np.int64).T
    return Confusion(classes=classes, true=true, predicted=predicted, counts=counts)
