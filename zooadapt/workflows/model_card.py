"""The model card of a run: metadata for the Hub, then what somebody wants to know who found the
model there.

Names of classes, files and sources are strangers' text and are escaped; no path of this machine,
time of day or name of its user is in a card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zooadapt.backbone.pretrained import Model
from zooadapt.data import Dataset, modalities
from zooadapt.family import config_keys
from zooadapt.heads.text_baseline import BaselineResult
from zooadapt.runtime.markdown import escape
from zooadapt.runtime.version import __version__
from zooadapt.tasks.figures import Figures
from zooadapt.training.plan import Plan
from zooadapt.workflows import best
from zooadapt.zoo.hub import records
from zooadapt.zoo.hub.card import BEGIN, END, FOLDER, join
from zooadapt.zoo.sources import Source

_HUB = "https://huggingface.co"


def compose(
    plan: Plan,
    model: Model,
    data: Dataset,
    val: Figures,
    test: Figures | None,
    *,
    text_baselines: Sequence[BaselineResult],
    notes: Sequence[str],
    chosen_from: Mapping[str, Any] | None = None,
) -> str:
    """The card as Markdown with YAML front matter. The place of the model is `FOLDER`, which a push
    replaces by the repo."""
    body = "\n".join(_body(plan, model, data, val, test, text_baselines, notes, chosen_from))
    return join(_front(plan, model, data, val, test), f"\n{BEGIN}\n{body}{END}\n")


def _front(
    plan: Plan, model: Model, data: Dataset, val: Figures, test: Figures | None
) -> dict[str, Any]:
    source, task = model.source, model.task.hub_task(data.train.kind.pipeline_tag)
    measured, split = (test, "test") if test else (val, plan.val)
    hub_set = _hub_set(data)
    kind = {"type": hub_set or "private", "name": hub_set or "target data", "split": split}
    scores = model.task.hub_metrics(measured)
    result = {"task": {"type": task}, "dataset": kind, "metrics": scores}
    front: dict[str, Any] = {
        "library_name": source.family.export_library(source.config),
        "pipeline_tag": task,
        "tags": [task, *model.task.tags, "zooadapt", source.family.name],
        "metrics": [one["type"] for one in scores],
        "model-index": [{"name": "adapted model", "results": [result]}],
    }
    base = None if plan.from_scratch else _base(source)
    if base:
        front |= {"base_model": base[0], "base_model_revision": base[1],
                  "base_model_relation": "finetune"}  # fmt: skip
    if hub_set:
        front["datasets"] = [hub_set]
    return front | _license(source)


def _license(source: Source) -> dict[str, str]:
    """As the source states it: never assumed, and a licence of its own with its name and text."""
    origin, base = source.origin, _base(source)
    link = origin.license_link
    if link and not re.match("https?://", link):
        link = f"{_HUB}/{base[0]}/blob/{base[1]}/{link}" if base else None
    terms = {"license": origin.license, "license_name": origin.license_name, "license_link": link}
    return {key: text for key, text in terms.items() if text}


def _base(source: Source) -> tuple[str, str] | None:
    """The repo and commit that a source is or, where it was adapted here, was made from."""
    before = config_keys.nested(config_keys.nested(source.config, "zooadapt"), "source")
    for place in (vars(source.origin), before):
        repo, commit = str(place.get("location")), str(place.get("revision"))
        if records.is_repo(repo) and records.is_commit(commit):
            return repo, commit
    return None


def _hub_set(data: Dataset) -> str | None:
    scheme, _, place = data.location.partition(":")
    return re.split("[:@]", place)[0] if scheme == "hf" else None


def _body(
    plan: Plan, model: Model, data: Dataset, val: Figures, test: Figures | None,
    text_baselines: Sequence[BaselineResult], notes: Sequence[str],
    chosen_from: Mapping[str, Any] | None,
) -> list[str]:  # fmt: skip
    measured, kind = test or val, model.source.family.modality
    figures = [("test", test)] if test else []
    if test is None or not data.train.learned.all():
        figures.append((f"validation ({plan.val})", val))
    for result in text_baselines:
        names = {"test": "test", "val": f"validation ({result.how})"}
        figures += [
            (f"{names[part]}, {result.baseline.title} instead", m)
            for part, m in sorted(result.metrics.items())
        ]
    parts = [
        f"# {kind.capitalize()} {model.task.title}\n",
        _origin(plan, model.source),
        *model.task.card_summary(figures),
        "## Use\n",
        *_usage(model),
        *model.task.card_sections(measured),
    ]
    made = {
        "strategy": f"`{plan.strategy}`",
        "seed": plan.seed,
        "training samples": plan.train_samples,
        "fingerprint of the data": f"`{data.fingerprint}`",
        "sha256 of the source's weights": f"`{model.source.sha256}`",
    }
    if chosen_from is not None:
        made["source"] = escape(best.sentence(chosen_from))
    return [
        *parts,
        "## How it was made\n",
        "| | |\n|---|---|\n" + "".join(f"| {what} | {value} |\n" for what, value in made.items()),
        "## Limits\n",
        "".join(f"- {line}\n" for line in _limits(plan, model, val, test, notes)),
    ]


def _origin(plan: Plan, source: Source) -> str:
    what = "Adapted from"
    if plan.from_scratch:
        fitted = "A head on the network, with random weights, of"
        what = "Trained from scratch on the network of" if plan.trained else fitted
    if base := _base(source):
        repo, commit = base
        name = f"[{escape(repo)}]({_HUB}/{repo}) at commit `{commit}`"
    else:
        name = escape(source.name)
    return f"{what} {name} by zooadapt {__version__}.\n"


def _usage(model: Model) -> list[str]:
    family = model.source.family
    config = model.native_config() | {
        "zooadapt": {"task": {"name": model.task.name} | model.task.facts()}
    }
    example = modalities.named(family.modality).example
    parts = [f"```sh\n{example.format(model=FOLDER)}\n```\n"]
    if code := family.usage(config, FOLDER):
        parts.append(f"Or without zooadapt:\n\n```python\n{code}```\n")
    return parts


def _limits(
    plan: Plan, model: Model, val: Figures, test: Figures | None, notes: Sequence[str]
) -> list[str]:
    measured = test or val
    lines = [
        *model.task.limits(measured),
        f"The figures are of {measured.n} samples of the publisher's data; other data, or other "
        "shares of the classes, will give others.",
    ]
    if test is None:
        lines.append(f"There was no test part: the figures are of the validation ({plan.val}).")
    if not model.source.origin.license:
        lines.append("The licence of the source is not known.")
    return lines + [escape(note) for note in notes]
