"""The charts of a run: its training, what more labels would bring, and its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zooadapt import tasks
from zooadapt.runtime.wording import counted
from zooadapt.workflows.html_report.charts import Axis, Chart, Series, axis, doubling
from zooadapt.workflows.html_report.examples import Examples

_SHARE = Axis(name="", low=0.0, high=1.0, ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
_ROWS = 40
_LOW = 130
"""Height of charts that stand one above the other."""


def training(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """Losses and the score on the validation part by epoch, which the task names."""
    epochs = report.get("epochs")
    if not epochs:
        return None
    best = report.get("best_epoch") or 0
    score = tasks.named(report.get("task") or tasks.DEFAULT).shown[0].title
    numbers = range(1, len(epochs) + 1)
    losses = [epoch[name] for epoch in epochs for name in ("train_loss", "val_loss")]
    across = axis("epoch", [1, len(epochs)], whole=True)

    def series(key: str, name: str, style: str) -> Series:
        points = ((float(k), epoch[key]) for k, epoch in zip(numbers, epochs, strict=True))
        return Series(name=name, points=tuple(points), style=style)

    last = epochs[best - 1] if best else epochs[-1]
    loss = Chart(
        title="Loss by epoch",
        description=f"Training loss {epochs[0]['train_loss']:.3f} in the first of "
        f"{counted(len(epochs), 'epoch')} and {epochs[-1]['train_loss']:.3f} in the last; "
        f"validation loss {epochs[0]['val_loss']:.3f} and {epochs[-1]['val_loss']:.3f}.",
        x=across,
        y=axis("loss", losses),
        series=(
            series("train_loss", "training", "solid"),
            series("val_loss", "validation", "dashed"),
        ),
        height=_LOW,
    )
    accuracy = Chart(
        title=f"Validation {score} by epoch",
        description=f"Validation {score} {epochs[0]['val_accuracy']:.3f} after the first epoch "
        f"and {last['val_accuracy']:.3f} after "
        + (f"epoch {best}, which was chosen." if best else "the last."),
        x=across,
        y=axis(score, [epoch["val_accuracy"] for epoch in epochs]),
        series=(series("val_accuracy", "validation", "dashed"),),
        height=_LOW,
    )
    step = -(-len(epochs) // _ROWS)
    rows = [(k, epoch) for k, epoch in zip(numbers, epochs, strict=True)
            if k == best or not k % step or k == 1]  # fmt: skip
    return {"charts": (loss, accuracy), "best": best, "rows": rows, "step": step, "score": score}


def learning_curve(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """Accuracy by number of labels, and what twice as many would bring."""
    curve = report.get("learning_curve")
    if not curve:
        return None
    points = [(point["samples"], point["accuracy"]) for point in curve["points"]]
    twice = 2 * points[-1][0], curve["twice"]
    low, high = curve["twice_interval"]
    chart = Chart(
        title="Accuracy by number of labels",
        description=curve["sentence"],
        x=doubling("training samples", [x for x, _ in (*points, twice)]),
        y=axis("accuracy", [*(y for _, y in points), low, high]),
        series=(
            Series(name="measured", points=tuple(points), style="solid"),
            Series(
                name="expected",
                points=(points[-1], twice),
                style="dashed",
                ranges=((twice[0], low, high),),
            ),
        ),
    )
    return {"chart": chart, "curve": curve, "twice": twice, "interval": (low, high)}


def reliability(report: Mapping[str, Any], examples: Examples) -> dict[str, Any] | None:
    """Accuracy by confidence."""
    bins, scores = report.get("reliability"), report.get("test") or report.get("val")
    if not bins or not scores:
        return None
    chart = Chart(
        title="Accuracy by confidence",
        description=f"Predictions in {counted(len(bins), 'group')} of equal size by their "
        f"confidence; the calibration error is {scores['ece']:.3f}. On the diagonal, confidence "
        "and accuracy are equal; below it, the model is too sure.",
        x=_named("confidence"),
        y=_named("accuracy"),
        series=(
            Series(
                name="predictions",
                points=tuple((bin["confidence"], bin["accuracy"]) for bin in bins),
                style="dots",
            ),
        ),
        diagonal=True,
    )
    return {"chart": chart, "bins": bins, "scores": scores}


def _named(name: str) -> Axis:
    return Axis(name=name, low=_SHARE.low, high=_SHARE.high, ticks=_SHARE.ticks)
