"""The catalogue of pretrained models: recommended, bundled, downloaded and known ones."""

from __future__ import annotations

from typing import Any

from zooadapt.errors import ZooadaptError
from zooadapt.family import Variant
from zooadapt.runtime import filesystem
from zooadapt.zoo import hub, registry

_BYTES = 4
"""Of a parameter in fp32, the type of most weights."""


def models(search: str, *, limit: int) -> dict[str, Any]:
    """The first `limit` models whose name contains `search`, as `models`; the number of further
    ones, as `more`; the plugins that fail to list theirs, each with the reason, as `broken`.

    The order: recommended models, smallest first; bundled ones; downloaded ones, newest first; the
    others, smallest first. `bytes` is measured on disk, or else four for each of the `parameters`;
    `cached` is the commit and size of a download.
    """
    broken: list[dict[str, str]] = []
    variants = _variants(broken)
    rows = [*_bundled(), *(_downloaded(entry) for entry in hub.cached()), *variants]
    matching = [row for row in rows if search.lower() in row["source"].lower()]
    first = [row for row in matching if row["start"]]
    models = [*sorted(first, key=_size), *(row for row in matching if not row["start"])]
    return {"models": models[:limit], "more": len(models[limit:]), "broken": broken}


def on_hand() -> list[dict[str, Any]]:
    """The models that need no download, bundled and downloaded ones, smallest first, as `models`
    lists them. A model that no installed family claims is left out."""
    rows = [*_bundled(), *(_downloaded(entry) for entry in hub.cached())]
    return sorted((row for row in rows if row["family"]), key=_size)


def _bundled() -> list[dict[str, Any]]:
    return [
        _row(
            name,
            registry.load(family),
            license=hub.fetch(str(folder)).license,
            note="bundled, works offline",
            bytes=filesystem.folder_size(folder),
        )
        for name, (family, folder) in registry.bundled().items()
    ]


def _downloaded(entry: hub.Cached) -> dict[str, Any]:
    return _row(
        f"{entry.location}@{entry.revision}",
        _family(entry),
        license=entry.license,
        note=f"downloaded, {entry.bytes / 1e6:.1f} MB",
        bytes=entry.bytes,
        cached={"revision": entry.revision, "bytes": entry.bytes, "files": list(entry.files)},
    )


def _variants(broken: list[dict[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for plugin in sorted({owner.name for owner in registry.installed()}):
        try:
            family = registry.load(plugin)
            rows += [_variant(variant, family) for variant in family.variants()]
        except ZooadaptError as error:
            broken.append({"name": plugin, "error": str(error), "remedy": error.remedy})
    return sorted(rows, key=_size)


def _variant(variant: Variant, family: Any) -> dict[str, Any]:
    return _row(
        variant.source,
        family,
        license=variant.license,
        note=variant.note,
        parameters=variant.parameters,
        bytes=None if variant.parameters is None else _BYTES * variant.parameters,
        start=variant.start,
    )


def _row(
    source: str,
    family: Any,
    *,
    license: str | None,
    note: str,
    bytes: int | None,
    parameters: int | None = None,
    cached: dict[str, Any] | None = None,
    start: str = "",
) -> dict[str, Any]:
    return {
        "source": source,
        "family": family.name if family else "",
        "modality": family.modality if family else "",
        "license": license,
        "parameters": parameters,
        "bytes": bytes,
        "note": note,
        "start": start,
        "cached": cached,
    }


def _family(entry: hub.Cached) -> Any:
    """The family of a cached model; None where its config is unusable."""
    try:
        config = hub.fetch_config(entry.location, revision=entry.revision, offline=True)
        return registry.family_for(config)
    except ZooadaptError:
        return None


def _size(row: dict[str, Any]) -> tuple[bool, int]:
    return row["bytes"] is None, row["bytes"] or 0
