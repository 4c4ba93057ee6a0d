"""What a run says of itself: `report.json`, the facts in `config.json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.staged import FrozenProof
from zooadapt.data import Dataset, Split
from zooadapt.family import FILES
from zooadapt.heads import text_baseline
from zooadapt.heads.findings import Findings
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.version import __version__
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.label_issues import KEEP
from zooadapt.training.history import History
from zooadapt.training.plan import Plan
from zooadapt.workflows import advice, learned_samples, model_card, symbols
from zooadapt.zoo import registry
from zooadapt.zoo.sources import Source

FORMAT = 1
LEARNED = ("train", "val")
"""The parts that a model learns, or that choose it."""
_VERSIONS = ("torch", "numpy", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Written:
    """The texts of an export."""

    config: dict[str, Any]
    files: dict[str, str]
    """The family's further files, by name."""
    report: dict[str, Any]
    card: str
    page: bytes | None = None
    """The report for people, as HTML."""


def compose(
    *,
    plan: Plan,
    model: Model,
    data: Dataset,
    splits: Mapping[str, Split],
    proof: FrozenProof,
    history: History,
    val: Figures,
    test: Figures | None,
    seconds: Mapping[str, float],
    findings: Findings,
    decisions: Sequence[Choice],
    refitted: bool,
    unlabelled: int = 0,
    relevance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    chosen_from: Mapping[str, Any] | None = None,
) -> Written:
    """Everything a reader, a loader or a script wants to know of a run. No time of day, path of
    this machine or name of its user goes into config or card. relevance: what came of the test of
    the places that answers rest on."""
    source = model.source
    origin = {"location": source.name, "revision": source.origin.revision, "sha256": source.sha256}
    scores = {"val": val.summary(), "test": test.summary() if test else None}
    fitted = sum(parameter.numel() for parameter in model.backbone.head.parameters())
    read = symbols.of_texts(model, splits.values())
    lost = advice.defeat(
        findings.text_baselines,
        {"val": val} | ({"test": test} if test else {}),
        task=model.task,
        metric=plan.recipe.metric,
        curve=None if plan.trained else findings.curve,
        samples=plan.train_samples,
        stronger=advice.stronger(source, sum(p.numel() for p in model.backbone.net.parameters())),
    )
    lines = [
        *([lost.sentence] if lost else ()),
        *data.notes,
        *model.notes,
        *notes,
        *(read.notes if read else ()),
        *_notes(plan, refitted),
        *text_baseline.notes(source.family.modality, findings.text_baselines),
    ]
    result = {
        "family": plan.family,
        "modality": source.family.modality,
        "source": origin,
        "chosen_from": chosen_from,
        "strategy": plan.strategy,
        "task": plan.task,
        "num_classes": plan.num_classes,
        "classes": list(model.classes),
        **scores,
        "seconds": dict(seconds),
        "trainable_parameters": history.trainable if plan.trained else fitted,
        "frozen": proof.to_json(),
        "carried_classes": [] if plan.from_scratch else list(model.carried),
        "unused_tensors": list(model.unused),
        "plan": plan.to_json(),
        "decisions": [asdict(decision) for decision in decisions],
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "best_epoch": history.best,
        "averaged_epochs": history.averaged,
        "refitted": refitted,
        "steps": history.steps,
        "stopped": history.stopped,
        "unknown": read and read.to_json(),
        "reliability": _reliability(test or val),
        "relevance": relevance,
        "beaten_by": asdict(lost) if lost else None,
        "notes": lines,
        "data": {
            "fingerprint": data.fingerprint,
            "samples": {name: len(split) for name, split in splits.items()}
            | ({"unlabelled": unlabelled} if unlabelled else {}),
            "held_out": list(splits["val"].ids) if plan.val == "held out" else None,
            "learned": _learned(plan, source, splits),
            "learned_before": {
                name: int(split.learned.sum()) for name, split in splits.items() if name in LEARNED
            },
        },
        "versions": versions(),
    }
    result |= (test or val).details() | findings.to_json()
    native = model.native_config()
    files = native.pop(FILES, {})
    facts = _facts(plan, model, data, origin, scores)
    facts["task"] = {"name": model.task.name} | model.task.facts()
    if tuple(source.family.classes(native) or ()) != model.classes:
        facts["classes"] = list(model.classes)  # the family's own config does not name them
    if findings.temperature is not None:
        fitted_last = refitted and not history.best
        facts["temperature"] = {
            "value": findings.temperature,
            "fitted_on": plan.fitted_val if fitted_last else plan.val,
            "in_weights": True,
        }
    config = native | {"zooadapt": facts}
    return Written(
        config=config,
        files=files,
        report=result,
        card=model_card.compose(
            plan,
            model,
            data,
            val,
            test,
            text_baselines=findings.text_baselines,
            notes=lines,
            chosen_from=chosen_from,
        ),
    )


def _learned(plan: Plan, source: Source, splits: Mapping[str, Split]) -> str:
    """What the exported model has learned, or was chosen by: the hashes of samples, in short."""
    before = frozenset() if plan.from_scratch else learned_samples.of_source(source)
    now = {one for name in LEARNED if name in splits for one in splits[name].digests}
    return learned_samples.encode(before | now)


def _facts(
    plan: Plan, model: Model, data: Dataset, origin: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    family = model.source.family
    reading: dict[str, Any] = {} if data.white is None else {"white": data.white}
    if data.cutting is not None:
        reading["cutting"] = asdict(data.cutting)
    return reading | {
        "format": FORMAT,
        "version": __version__,
        "family": family.name,
        "plugin": registry.version_of(family),
        "preprocessing": model.preprocessor.config(),
        "source": origin,
        "license": model.source.origin.license,
        "license_name": model.source.origin.license_name,
        "license_link": model.source.origin.license_link,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "inference": {"precision": plan.precision, "channels_last": plan.channels_last},
        "data": data.fingerprint,
        "scores": scores,
    }


def _reliability(metrics: Figures) -> list[dict[str, Any]] | None:
    calibrated = getattr(metrics, "calibration", None)
    return None if calibrated is None else [asdict(each) for each in calibrated.bins]


def _notes(plan: Plan, refitted: bool) -> list[str]:
    notes = []
    if plan.suspects != KEEP and plan.fits_head:
        notes.append(
            "validation scores are optimistic: these labels also decided which labels were "
            "believed; test scores are not affected"
        )
    if refitted:
        notes.append("the samples of val were learned too, after its figures were taken")
    return notes


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    ours = {"zooadapt": __version__, "python": platform.python_version()}
    return ours | {name: version(name) for name in _VERSIONS}
