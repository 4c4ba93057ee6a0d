"""The sections of the page: each takes what it shows out of the report, or is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from zooadapt import tasks
from zooadapt.data import modalities
from zooadapt.errors import DataError, ZooadaptError
from zooadapt.runtime.wording import counted
from zooadapt.tasks.figures import Shown
from zooadapt.tasks.task import Task
from zooadapt.training import plan_json
from zooadapt.training.plan_lines import plan_steps
from zooadapt.workflows.html_report import classes, figures
from zooadapt.workflows.html_report.examples import Examples
from zooadapt.zoo.hub.card import FOLDER

Report = Mapping[str, Any]
Values = dict[str, Any] | None
_NAMES = {
    "knn": "nearest neighbours",
    "probe": "linear probe",
    "tfidf": "bag of words (TF-IDF)",
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page. `values` are those of the template `NAME.html`; None leaves it out."""

    name: str
    title: str
    values: Callable[[Report, Examples], Values]
    wide: bool = False


def headline(report: Report) -> dict[str, Any]:
    """What stands above all sections: the model, its score, and sentences on it."""
    scores, part = _scores(report)
    lost = report.get("beaten_by")
    sentences = [lost["sentence"] if lost else None, report.get("conclusion")]
    return {
        "source": (report.get("source") or {}).get("location", "a pretrained model"),
        "outputs": _outputs(report),
        "scores": scores,
        "score": scores and _task(report).shown[0].sentence(scores),
        "part": part,
        "sentences": [each.removeprefix("conclusion: ") for each in sentences if each],
        "notes": [each for each in report.get("notes") or () if each not in sentences],
        "data": str((report.get("data") or {}).get("fingerprint", ""))[:12],
        "versions": report.get("versions") or {},
    }


def _accuracy(report: Report, examples: Examples) -> Values:
    scores, part = _scores(report)
    if scores is None:
        return None
    held_out = (report.get("plan") or {}).get("val", "held out")
    rows = []
    if report.get("test"):
        rows.append(_row("this model", "test part", report["test"]))
        compared = _by_name(report.get("test_comparisons"))
        for name, each in (report.get("test_baselines") or {}).items():
            rows.append(_row(_NAMES.get(name, name), "test part", each, compared.get(name)))
    if report.get("val"):
        rows.append(_row("this model", held_out, report["val"]))
        compared = _by_name(report.get("comparisons"))
        for name, each in (report.get("baselines") or {}).items():
            same = each["n"] == report["val"]["n"]
            where = each.get("how", held_out if same else "held out")
            rows.append(_row(_NAMES.get(name, name), where, each, compared.get(name)))
    task, names = _task(report), {"majority": _task(report).ignorant}
    for row in rows:
        row["name"] = names.get(row["name"], row["name"])
        row["figures"] = [(one.text(row["scores"]), one.range(row["scores"])) for one in task.shown]
        row["drawn"] = _drawn(task.shown[0], row["scores"])
    return {
        "rows": rows,
        "part": part,
        "titles": [one.title for one in task.shown],
        "test": task.test,
    }


def _row(
    name: str, where: str, scores: Mapping[str, Any], compared: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "where": where, "scores": scores, "compared": compared}


def _drawn(shown: Shown, scores: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """A score and its interval, where a bar from 0 to 1 can show them."""
    low, high = scores[shown.interval] if shown.interval else (-1, 2)
    return (scores[shown.key], low, high) if 0 <= low <= high <= 1 else None


def _task(report: Report) -> type[Task]:
    return tasks.named(report.get("task") or tasks.DEFAULT)


def _outputs(report: Report) -> str | None:
    count = report.get("num_classes")
    return counted(count, *_task(report).noun) if count else None


def _by_name(comparisons: Any) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for one in comparisons or ()}


def _scores(report: Report) -> tuple[Mapping[str, Any] | None, str]:
    """The scores that count, and what they were measured on."""
    if report.get("test"):
        return report["test"], "test part"
    return report.get("val"), (report.get("plan") or {}).get("val", "held out")


def _errors(report: Report, examples: Examples) -> Values:
    if not examples.errors and not examples.right:
        return None
    return {"errors": examples.errors, "right": examples.right, "test": report.get("relevance")}


def _label_issues(report: Report, examples: Examples) -> Values:
    issues = report.get("suspects")
    return {"issues": issues, "examples": examples.label_issues} if issues else None


def _choices(report: Report, examples: Examples) -> Values:
    plan = report.get("plan")
    if not plan:
        return None
    steps: list[str] = []
    with suppress(DataError):  # the report of another version
        steps = plan_steps(plan_json.plan_of(plan))
    return {
        "strategy": plan.get("strategy"),
        "steps": steps,
        "choices": [*(plan.get("choices") or ()), *(report.get("decisions") or ())],
        "stopped": report.get("stopped"),
    }


def _cost(report: Report, examples: Examples) -> Values:
    seconds = report.get("seconds")
    if not seconds:
        return None
    parts = [(name, value) for name, value in seconds.items() if name != "total" and value >= 0.05]
    plan, samples = report.get("plan") or {}, (report.get("data") or {}).get("samples") or {}
    return {
        "total": seconds["total"],
        "parts": sorted(parts, key=lambda part: -part[1]),
        "steps": report.get("steps"),
        "trainable": report.get("trainable_parameters"),
        "device": plan.get("device"),
        "precision": plan.get("precision"),
        "samples": samples,
    }


def _use(report: Report, examples: Examples) -> Values:
    with suppress(ZooadaptError):  # of a plugin that is not installed here
        modality = modalities.named(str(report.get("modality")))
        return {"folder": FOLDER, "example": modality.example.format(model=FOLDER)}
    return None


SECTIONS = (
    Section(name="accuracy", title="Scores and baselines", values=_accuracy, wide=True),
    Section(name="confusion", title="Confusion matrix", values=classes.confusion),
    Section(name="classes", title="Classes", values=classes.recall),
    Section(name="labels", title="Labels", values=classes.labels),
    Section(name="training", title="Training", values=figures.training),
    Section(name="learning_curve", title="More labels", values=figures.learning_curve),
    Section(name="reliability", title="Calibration", values=figures.reliability),
    Section(name="errors", title="Answers and where they come from", values=_errors, wide=True),
    Section(name="label_issues", title="Doubtful labels", values=_label_issues, wide=True),
    Section(name="choices", title="What was chosen, and why", values=_choices, wide=True),
    Section(name="cost", title="Cost", values=_cost),
    Section(name="use", title="Use", values=_use),
)
"""From the top of the page down."""
