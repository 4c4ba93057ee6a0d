"""A model as an ONNX file, proved before it is written."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.backbone import onnx_model
from zooadapt.backbone.onnx_model import FLOAT, IMAGES, INT8, SUFFIX, Facts, OnnxModel
from zooadapt.backbone.pretrained import Model, build
from zooadapt.data import (
    Dataset,
    ReadOptions,
    Split,
    dataset_of,
    inputs_of,
    is_location,
    open_dataset,
    open_samples,
)
from zooadapt.data.synthesis import synthesise
from zooadapt.errors import DataError, UsageError
from zooadapt.family import config_keys
from zooadapt.family.portable import Pixels
from zooadapt.runtime import filesystem, outputs
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.version import __version__
from zooadapt.workflows import onnx_proof
from zooadapt.workflows.model_inference import reading_of, seed_of
from zooadapt.zoo.sources import Source, open_source

if TYPE_CHECKING:
    import onnx

KINDS = (FLOAT, INT8)
MOST_PROOF = 1000
"""Samples that are compared."""
MOST_CALIBRATION = 128
_LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
_SYNTHESISED = 32
_FEW = 4


@dataclass(frozen=True, kw_only=True)
class _Samples:
    proof: Split
    of: str
    """Which samples these are."""
    calibration: Split | None
    choice: Split | None = None
    """Samples by which layers are chosen; none of them is in the proof."""


def export(
    spec: str,
    out: Path,
    progress: Progress,
    *,
    kind: str = FLOAT,
    data: Any = None,
    reading: ReadOptions | None = None,
    offline: bool = False,
) -> dict[str, Any]:
    """Write a model as an ONNX file of one of `KINDS`, after its logits were compared with torch's,
    and return what it is: `out`, `kind`, `bytes`, `proof` and, for int8, its layers.

    data: samples to compare on, by default synthesised ones: a location, or a labelled set in
    memory; of a labelled set it is the test part. An int8 file is calibrated on the training part.
    Raises: UsageError without the libraries or, for int8, without `data`; OutputError before any
    work where the file cannot be written; DataError for a model that names no classes, that cannot
    be exported, or whose file would break a bound of `onnx_proof`.
    """
    _check_libraries()
    if out.suffix != SUFFIX:
        raise UsageError(
            f"'{out}' is no name of an ONNX file", thing="--out", remedy=f"-o model{SUFFIX}"
        )
    if kind == INT8 and data is None:
        raise UsageError(
            "an int8 file is calibrated on training samples",
            thing="DATA",
            remedy=f"zooadapt export MODEL DATA --to {INT8} -o FILE{SUFFIX}",
        )
    outputs.check_output_file(out)
    progress.doing(f"opening {spec}", shows=not Path(spec).exists())
    source = open_source(spec, offline=offline)
    if source.classes is None:
        raise DataError(
            f"'{source.name}' has no class names: it is no adapted model",
            thing=source.name,
            remedy="zooadapt adapt it to your data first",
        )
    if kind == INT8 and not (source.task and source.task.counts_classes):
        raise UsageError(
            "int8 is proved by labels, and this model does not predict one class of several",
            thing="--to",
            remedy="--to onnx",
        )
    progress.doing("reading the samples")
    options = reading_of(source, reading or ReadOptions())
    samples = _samples(source, data, options, kind, offline)
    progress.doing("building the network")
    model = build(source)
    facts = facts_of(model, kind)
    content, result = _proved(model, facts, samples, str(out), progress)
    filesystem.write_file(out, content)
    return {"out": str(out), "kind": kind, "bytes": len(content), **result}


def facts_of(model: Model, kind: str) -> Facts:
    """What the file's metadata says of a model, its proof apart.

    Raises: DataError for a plugin that does not state its preprocessing as data.
    """
    source = model.source
    preprocessing = model.preprocessor.portable()  # type: ignore[attr-defined]  # of its proxy
    if preprocessing is None:
        raise DataError(
            f"family '{source.family.name}' does not say how the preprocessing of this model works "
            "without torch",
            thing=source.family.name,
            remedy="zooadapt predict runs the model with torch",
        )
    described = config_keys.nested(source.config, "zooadapt")
    temperature = config_keys.nested(described, "temperature")
    origin = config_keys.nested(described, "source")
    return Facts(
        kind=kind,
        modality=source.family.modality,
        task={"name": model.task.name, **model.task.facts()},
        classes=model.classes,
        calibration={"temperature": dict(temperature)} if temperature else {},
        source={"family": source.family.name, "version": __version__, "origin": dict(origin)},
        license=source.origin.license,
        white=source.white,
        min_side=model.preprocessor.min_side,
        preprocessing=preprocessing,
        weights=onnx_model.weights_sha256(source.origin.folder),
        proof={},
    )


def _check_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"an export to ONNX needs {' and '.join(missing)}, not installed here",
            thing=missing[0],
            remedy="pip install 'zooadapt[onnx]'",
        )


def _samples(source: Source, data: Any, options: ReadOptions, kind: str, offline: bool) -> _Samples:
    modality = source.family.modality
    if data is None:
        raws = synthesise(modality, _SYNTHESISED)
        split = inputs_of(raws, modality=modality)
        return _Samples(proof=split, of="synthesised", calibration=None)
    if not is_location(data):
        whole = dataset_of(data, modality=modality, options=options, seed=seed_of(source))
        return _labelled(source, whole, "data in memory", kind)
    place = fspath(data)
    name = place if place.startswith("hf:") else Path(place).resolve().name
    if kind == FLOAT:
        split, task = open_samples(place, modality=modality, options=options, offline=offline)
        if task is None:
            return _Samples(proof=_first(split, MOST_PROOF), of=name, calibration=None)
    whole = open_dataset(
        place, modality=modality, options=options, offline=offline, seed=seed_of(source)
    )
    return _labelled(source, whole, name, kind)


def _labelled(source: Source, data: Dataset, name: str, kind: str) -> _Samples:
    """Raises: DataError for a class that the model does not know."""
    whole, of = (data.test, f"test part of {name}") if data.test else (data.everything, name)
    part = _first(whole, MOST_PROOF)
    if source.task is not None:
        part.labels = source.task.aligned(part.labels, data.task, where=name)
    if kind == FLOAT:
        return _Samples(proof=part, of=of, calibration=None)
    order = np.arange(len(part))
    return _Samples(
        proof=part.subset(order[::2]),
        of=f"every other one of the {of}",
        calibration=_first(data.train, MOST_CALIBRATION),
        choice=part.subset(order[1::2]),
    )


def _first(split: Split, most: int) -> Split:
    """At most so many samples, spread over the split."""
    if len(split) <= most:
        return split.subset(np.arange(len(split)))
    return split.subset(np.linspace(0, len(split) - 1, most).round().astype(int))


def _proved(
    model: Model, facts: Facts, samples: _Samples, path: str, progress: Progress
) -> tuple[bytes, dict[str, Any]]:
    """The file's content with its proof, and what is to be said of it."""
    from zooadapt.backbone.onnx_graph import Graph, to_onnx

    inputs = _example(facts)
    progress.doing("tracing the network, which takes up to a minute")
    graph = Graph(model.backbone, facts.preprocessing, _names(facts), stages=False)
    made = to_onnx(graph, inputs)
    expected = _torch_logits(model, samples.proof, progress)
    result: dict[str, Any] = {}
    content = _with_facts(made, facts)
    if samples.calibration is not None and samples.choice is not None:
        content, result = _int8(made, facts, samples.calibration, samples.choice, progress)
    logits = _logits(content, path, samples.proof, progress)
    proof = onnx_proof.compare(
        expected, logits, samples.proof.labels, of=samples.of, is_classes=model.task.counts_classes
    )
    where = None
    if facts.kind == FLOAT and proof.faults(FLOAT):
        where = _where(model, facts, samples.proof)
    onnx_proof.check(proof, facts.kind, where=where, path=path)
    result = {"proof": proof.to_json(), **result}
    return _with_proof(content, result), result


def _names(facts: Facts) -> Sequence[str]:
    described = facts.preprocessing
    return (described.input,) if isinstance(described, Pixels) else described.inputs


def _example(facts: Facts) -> dict[str, Any]:
    """Inputs to trace with: two samples, of more than one length or pixel each."""
    import torch

    if isinstance(facts.preprocessing, Pixels):
        shape = (2, 48, 40, facts.preprocessing.channels)
        return {IMAGES: torch.randint(0, 256, shape, dtype=torch.uint8)}
    from zooadapt.family.portable import batch

    raws = synthesise(facts.modality, _FEW)
    arrays = batch(facts.preprocessing.rows(raws))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _torch_logits(model: Model, split: Split, progress: Progress) -> np.ndarray:
    from zooadapt.backbone.engine import Engine
    from zooadapt.backbone.loaders import Inputs

    engine = Engine(precision="fp32", channels_last=False)
    engine.place(model.backbone)
    loader = Inputs(
        split,
        model.preprocessor,
        view=model.view,
        variable_length=model.source.family.can.variable_length,
    )
    logits: np.ndarray = engine.logits(
        model.backbone, loader, batch_size=32, progress=progress, what="torch"
    ).numpy()
    model.backbone.net.cpu()
    return logits


def _logits(content: bytes, path: str, split: Split, progress: Progress) -> np.ndarray:
    return OnnxModel(content, Path(path)).logits(split, batch_size=32, progress=progress)


def _int8(
    made: onnx.ModelProto, facts: Facts, calibration: Split, choice: Split, progress: Progress
) -> tuple[bytes, dict[str, Any]]:
    from zooadapt.workflows.onnx_int8 import quantise

    def run(content: bytes, samples: Sequence[Any]) -> np.ndarray:
        session = onnx_model.session(content, Path("int8.onnx"))
        return np.concatenate([session.run([onnx_model.LOGITS], one)[0] for one in samples])

    learned, others = (onnx_model.one_by_one(facts, split) for split in (calibration, choice))
    content, result = quantise(made, learned, others, run, progress)
    return _described(content, facts), result


def _where(model: Model, facts: Facts, split: Split) -> str | None:
    """The first stage that differs on the first samples."""
    import torch

    from zooadapt.backbone.onnx_graph import Graph, to_onnx

    graph = Graph(model.backbone, facts.preprocessing, _names(facts), stages=True)
    content = _with_facts(to_onnx(graph, _example(facts)), facts)
    few = _first(split, _FEW)
    indices, inputs = next(onnx_model.batches(facts, few, _FEW))
    arrays = OnnxModel(content, Path("stages.onnx")).run(inputs)
    raws = [few.viewed(k, model.view) for k in indices.tolist()]
    prepared = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    with torch.no_grad():
        return onnx_proof.first_difference(graph.by_stage(prepared), arrays)


def _with_facts(made: onnx.ModelProto, facts: Facts) -> bytes:
    return _described(made.SerializeToString(), facts)


def _described(content: bytes, facts: Facts) -> bytes:
    """The file with these metadata alone."""
    return _with_metadata(content, facts.metadata(), replace=True)


def _with_proof(content: bytes, result: dict[str, Any]) -> bytes:
    import json

    return _with_metadata(content, {"proof": json.dumps(result["proof"], sort_keys=True)})


def _with_metadata(content: bytes, metadata: dict[str, str], *, replace: bool = False) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    entries = {} if replace else {one.key: one.value for one in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries | metadata)
    model.producer_name, model.producer_version = "zooadapt", __version__
    written: bytes = model.SerializeToString()
    return written
