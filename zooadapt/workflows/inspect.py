"""Before adapting: the stages of a pretrained model with their costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes


def inspect(
    spec: str, *, batch_size: int, offline: bool, progress: Progress | None = None
) -> dict[str, Any]:
    """The stages of a pretrained model, each with its parameters, forward milliseconds and bytes of
    activations for one sample, measured here in fp32 on synthetic inputs of the model's kind."""
    from zooadapt.backbone.pretrained import build
    from zooadapt.zoo.sources import open_source

    progress = progress or Progress()
    progress.doing(f"opening {spec}", shows=not Path(spec).exists())
    source = open_source(spec, offline=offline)
    from zooadapt.data.synthesis import synthesise
    from zooadapt.training import cost_model

    model = build(source, task=source.task or of_classes(["class"]))
    raws = synthesise(source.family.modality, batch_size, view=model.view)
    batch = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    progress.doing("measuring the stages")
    measured = cost_model.of_stages(model.backbone, batch)
    return {
        "family": source.family.name,
        "modality": source.family.modality,
        "source": {
            "location": source.name,
            "revision": source.origin.revision,
            "sha256": source.sha256,
        },
        "license": source.origin.license,
        "head": model.backbone.head_path,
        "input": {name: list(tensor.shape[1:]) for name, tensor in batch.items()},
        "classes": list(source.classes or ()),
        "notes": [*model.notes, *model.backbone.notes],
        "parameters": sum(p.numel() for p in model.backbone.net.parameters()),
        "stages": [
            {
                "name": cost.name,
                "cut": k,
                "parameters": cost.parameters,
                "milliseconds": 1000 * cost.seconds,
                "carry_bytes": cost.activation_bytes,
            }
            for k, cost in enumerate(measured)
        ],
    }
