"""Looking before adapting: the stages of a source with their costs, and the known sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zooadapt import hub, registry
from zooadapt.errors import ZooadaptError
from zooadapt.progress import Progress


def inspect(
    spec: str, *, batch_size: int, offline: bool, progress: Progress | None = None
) -> dict[str, Any]:
    """The chain of a source, each stage with its parameters, forward milliseconds and carry bytes
    for one sample, measured here in fp32 on synthetic inputs of the source's own kind."""
    from zooadapt.model import build, open_source

    progress = progress or Progress()
    progress.doing(f"opening {spec}", shows=not Path(spec).exists())
    source = open_source(spec, offline=offline)
    from zooadapt import costs
    from zooadapt.testing import synthesise

    model = build(source, classes=source.classes or ("class",))
    raws = synthesise(source.family.modality, batch_size, channels=model.channels)
    batch = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    progress.doing("measuring the stages")
    measured = costs.of_stages(model.chain, batch)
    return {
        "family": source.family.name,
        "modality": source.family.modality,
        "source": {
            "location": source.name,
            "revision": source.origin.revision,
            "sha256": source.sha256,
        },
        "license": source.origin.license,
        "head": model.chain.head_path,
        "input": {name: list(tensor.shape[1:]) for name, tensor in batch.items()},
        "classes": list(source.classes or ()),
        "notes": [*model.notes, *model.chain.notes],
        "parameters": sum(p.numel() for p in model.chain.net.parameters()),
        "stages": [
            {
                "name": cost.name,
                "cut": k,
                "parameters": cost.parameters,
                "milliseconds": 1000 * cost.seconds,
                "carry_bytes": cost.carry_bytes,
            }
            for k, cost in enumerate(measured)
        ],
    }


def models(search: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Known sources whose name holds `search`: bundled ones, then what the Hub's cache holds, then
    what the installed families know of; and the plugins that cannot say, each with its reason.
    `cached` is the commit and size of what was downloaded."""
    found = [
        {
            "source": name,
            "family": family,
            "license": hub.fetch(str(folder)).license,
            "parameters": None,
            "note": "bundled, works offline",
            "cached": None,
        }
        for name, (family, folder) in registry.bundled().items()
    ]
    found += [_cached(entry) for entry in hub.cached()]
    broken = []
    for plugin in sorted({owner.name for owner in registry.installed()}):
        try:
            found += [
                {
                    "source": v.source,
                    "family": plugin,
                    "license": v.license,
                    "parameters": v.parameters,
                    "note": v.note,
                    "cached": None,
                }
                for v in registry.load(plugin).variants()
            ]
        except ZooadaptError as error:
            broken.append({"name": plugin, "error": str(error), "remedy": error.remedy})
    return [one for one in found if search.lower() in one["source"].lower()], broken


def _cached(entry: hub.Cached) -> dict[str, Any]:
    return {
        "source": f"{entry.location}@{entry.revision}",
        "family": _family(entry),
        "license": entry.license,
        "parameters": None,
        "note": f"downloaded, {entry.bytes / 1e6:.1f} MB",
        "cached": {"revision": entry.revision, "bytes": entry.bytes, "files": list(entry.files)},
    }


def _family(entry: hub.Cached) -> str:
    """The family of a cached source; nothing where its config is not usable any more."""
    try:
        config = hub.fetch_config(entry.location, revision=entry.revision, offline=True)
        return registry.family_for(config).name
    except ZooadaptError:
        return ""
