"""What a run says of itself: `report.json`, the facts in `config.json`, the model card."""

from __future__ import annotations

import html
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import yaml

from zooadapt import __version__
from zooadapt.chain import FrozenProof
from zooadapt.data import Dataset, Split
from zooadapt.family import FILES
from zooadapt.findings import Findings
from zooadapt.metrics import BINS, Metrics
from zooadapt.model import Model
from zooadapt.plan import Plan
from zooadapt.strategy import Choice
from zooadapt.training import History

FORMAT = 1
BEGIN, END = "<!-- zooadapt:begin -->", "<!-- zooadapt:end -->"
_MOST_CLASSES = 40
_VERSIONS = ("torch", "numpy", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Written:
    """The texts of an export."""

    config: dict[str, Any]
    files: dict[str, str]
    """The family's further files, by name."""
    report: dict[str, Any]
    card: str


def compose(
    *,
    plan: Plan,
    model: Model,
    data: Dataset,
    splits: Mapping[str, Split],
    proof: FrozenProof,
    history: History,
    val: Metrics,
    test: Metrics | None,
    seconds: Mapping[str, float],
    findings: Findings,
    decisions: Sequence[Choice],
    notes: Sequence[str] = (),
) -> Written:
    """Everything a reader, a loader or a script wants to know of a run. No time of day, path of
    this machine or name of its user goes into config or card."""
    source = model.source
    origin = {"location": source.name, "revision": source.origin.revision, "sha256": source.sha256}
    scores = {"val": val.summary(), "test": test.summary() if test else None}
    solved = sum(parameter.numel() for parameter in model.chain.head.parameters())
    unknown = _unknown(model, splits)
    result = {
        "family": plan.family,
        "source": origin,
        "strategy": plan.strategy,
        "num_classes": plan.num_classes,
        "classes": list(model.classes),
        **scores,
        "seconds": dict(seconds),
        "trainable_parameters": history.trainable if plan.trained else solved,
        "frozen": proof.to_json(),
        "carried_classes": list(model.carried),
        "unused_tensors": list(model.unused),
        "plan": plan.to_json(),
        "decisions": [asdict(decision) for decision in decisions],
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best_epoch": history.best,
        "steps": history.steps,
        "stopped": history.stopped,
        "unknown": unknown,
        "notes": [*data.notes, *notes, *_notes(unknown)],
        "data": {
            "fingerprint": data.fingerprint,
            "samples": {name: len(split) for name, split in splits.items()},
            "held_out": list(splits["val"].ids) if plan.val == "held out" else None,
        },
        "confusion": (test or val).confusion.tolist(),
        "versions": versions(),
    } | findings.to_json()
    native = dict(source.family.native_config(source.config, model.classes))
    files = native.pop(FILES, {})
    facts = _facts(plan, model, data, origin, scores)
    if findings.temperature is not None:
        facts["temperature"] = {
            "value": findings.temperature,
            "fitted_on": plan.val,
            "in_weights": True,
        }
    config = native | {"zooadapt": facts}
    return Written(
        config=config, files=files, report=result, card=_card(plan, model, data, val, test)
    )


def _facts(
    plan: Plan, model: Model, data: Dataset, origin: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    family = model.source.family
    return {
        "format": FORMAT,
        "version": __version__,
        "family": family.name,
        "plugin": version_of(family),
        "classes": list(model.classes),
        "preprocessing": model.preprocessor.config(),
        "source": origin,
        "license": model.source.origin.license,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "data": data.fingerprint,
        "scores": scores,
    }


def _unknown(model: Model, splits: Mapping[str, Split]) -> dict[str, int] | None:
    """Characters or tokens of the texts that the source has no symbol for."""
    prepare = model.preprocessor
    if model.source.family.modality != "text":
        return None
    counts = [
        prepare.unknowns(split.raw(k, min_side=None, channels=model.channels))
        for split in splits.values()
        for k in range(len(split))
    ]
    return {"count": sum(count for count, _ in counts), "of": sum(of for _, of in counts)}


def _notes(unknown: Mapping[str, int] | None) -> list[str]:
    if not unknown or not unknown["count"]:
        return []
    share = unknown["count"] / unknown["of"]
    return [
        f"{unknown['count']} of {unknown['of']} symbols ({share:.2%}) are unknown to the source"
    ]


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    ours = {"zooadapt": __version__, "python": platform.python_version()}
    return ours | {name: version(name) for name in _VERSIONS}


def version_of(family: Any) -> str:
    """Version of the distribution a family comes from."""
    from zooadapt import registry

    return next((p.version for p in registry.installed() if p.name == family.name), "?")


def _card(plan: Plan, model: Model, data: Dataset, val: Metrics, test: Metrics | None) -> str:
    source = model.source
    base = source.origin.location if source.origin.revision else None
    kind = {"image": "image-classification", "text": "text-classification"}
    task = kind[source.family.modality]
    shown, split = (test, "test") if test else (val, plan.val)
    meta: dict[str, Any] = {
        "library_name": source.family.library,
        "pipeline_tag": task,
        "tags": [task, "zooadapt", source.family.name],
        "model-index": [
            {
                "name": "adapted model",
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"type": "private", "name": "target data", "split": split},
                        "metrics": [
                            {"type": "accuracy", "value": round(shown.accuracy, 6)},
                            {"type": "f1", "name": "macro F1", "value": round(shown.macro_f1, 6)},
                        ],
                    }
                ],
            }
        ],
    }
    if source.origin.license:
        meta["license"] = source.origin.license
    if base:
        meta |= {"base_model": base, "base_model_relation": "finetune"}
    if data.location.startswith("hf:"):
        meta["datasets"] = [data.location.removeprefix("hf:")]
    front = yaml.safe_dump(meta, sort_keys=True, allow_unicode=True)
    return f"---\n{front}---\n\n{BEGIN}\n{_body(plan, model, data, val, test)}{END}\n"


def _body(plan: Plan, model: Model, data: Dataset, val: Metrics, test: Metrics | None) -> str:
    source, shown = model.source, test or val
    revision = f" at `{source.origin.revision}`" if source.origin.revision else ""
    what = "trained from scratch on the network of" if plan.from_scratch else "adapted from"
    name = escape(source.name)
    rows = [
        f"| {label} | {_percent(m)} | {m.macro_f1:.3f} | {_error(m)} | {m.n} |"
        for label, m in (("test", test), (f"validation ({plan.val})", val))
        if m
    ]
    parts = [
        f"# {len(model.classes)} classes, {what} {name}\n",
        f"Strategy `{plan.strategy}`, seed {plan.seed}, {plan.train_samples} training samples; "
        f"source `{source.sha256[:16]}`{revision}; data `{data.fingerprint[:16]}`.\n",
        "| measured on | accuracy (95 % interval) | macro F1 | calibration error | n |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows) + "\n",
        f"The calibration error is the expected one over {BINS} bins of equally many predictions; "
        "in brackets what so few would show if every confidence were exact.\n",
        "## Classes\n\n" + _class_table(model.classes, shown),
        "## Use\n\n```sh\nzooadapt predict PATH_OF_THIS_FOLDER INPUT\n```\n",
    ]
    if source.family.library == "timm":
        parts.append(
            "```python\nimport timm\n\nmodel = timm.create_model("
            '"local-dir:PATH_OF_THIS_FOLDER", pretrained=True).eval()\n```\n'
        )
    if len(model.classes) <= _MOST_CLASSES:
        parts.append(
            "## Confusion\n\nRows are true classes, columns predictions.\n\n"
            + _confusion_table(model.classes, shown)
        )
    return "\n".join(parts)


def _class_table(classes: Sequence[str], metrics: Metrics) -> str:
    true = metrics.confusion.sum(1)
    hits = metrics.confusion.diagonal()
    lines = ["| # | class | recall | n |", "|---|---|---|---|"]
    for k, name in enumerate(classes):
        recall = f"{hits[k] / true[k]:.3f}" if true[k] else "–"
        lines.append(f"| {k} | {escape(name)} | {recall} | {true[k]} |")
    return "\n".join(lines) + "\n"


def _confusion_table(classes: Sequence[str], metrics: Metrics) -> str:
    head = "| | " + " | ".join(escape(name) for name in classes) + " |"
    lines = [head, "|---" * (len(classes) + 1) + "|"]
    for name, row in zip(classes, metrics.confusion, strict=True):
        lines.append(f"| **{escape(name)}** | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def _percent(metrics: Metrics) -> str:
    low, high = metrics.interval
    return f"{metrics.accuracy:.3f} ({low:.3f} to {high:.3f})"


def _error(metrics: Metrics) -> str:
    found = metrics.calibration
    return "–" if found is None else f"{found.error:.3f} ({found.by_chance:.3f})"


def escape(name: str) -> str:
    """A name from the data as text that no Markdown, table or HTML reader takes for markup."""
    text = html.escape("".join(c if c.isprintable() else "\ufffd" for c in name))
    return "".join("\\" + c if c in "\\`*_{}[]()#+-.!|~" else c for c in text)
