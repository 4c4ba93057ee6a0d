"""The story of a run: the only file that knows the order of things."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zooadapt import export, fsops, plan, processes, report, suspects, unlabelled
from zooadapt.auto import BUDGET
from zooadapt.cache import Cache, cache_folder
from zooadapt.carries import Carries
from zooadapt.chain import frozen_proof
from zooadapt.checkpoint import Checkpoint
from zooadapt.costs import Costs, Sizes, measure
from zooadapt.data import Dataset, Split, hold_out, open_dataset, sample_per_class
from zooadapt.engine import Engine
from zooadapt.feed import Inputs
from zooadapt.metrics import Metrics
from zooadapt.model import Model, Source, build, open_source
from zooadapt.plan import Plan
from zooadapt.precision import Mode, choose
from zooadapt.progress import Progress
from zooadapt.request import Request
from zooadapt.run import TEST, TRAIN, VAL, Run
from zooadapt.strategy import AUTO, Choice
from zooadapt.suspects import Suspects
from zooadapt.timing import Clock, Imports

KEPT = 1 << 30
"""Bytes of decoded samples that a run keeps, for each part of the data, if epochs revisit them."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ended with; `report` is what `report.json` holds and `--json` prints. Without
    metrics where only the plan was asked for."""

    plan: Plan
    val: Metrics | None
    test: Metrics | None
    report: dict[str, Any]


def adapt(request: Request, progress: Progress) -> Result:
    """Adapt a source to a data set and write the export to `request.out`, as a whole or not at all.

    Raises: any ZooadaptError of the layers below, most of them before any long work.
    """
    clock = Clock()
    fsops.check_output(request.out, overwrite=request.overwrite)
    if request.suspects is not None:
        fsops.check_output(request.suspects, overwrite=True)
    with clock.part("source"):
        source = open_source(request.source, offline=request.offline)
    imports = Imports(source.family.imports)
    with clock.part("data"):
        data = open_dataset(
            request.data,
            modality=source.family.modality,
            options=request.reading,
            seed=request.seed,
        )
        splits = _splits(request, data, holds_out=plan.holds_out(request.strategy))
        texts = None
        if request.unlabelled is not None:
            texts = unlabelled.read(request.unlabelled, source, data.test, request.reading)
    with clock.part("imports"):
        imports.wait()
    with clock.part("plan"):
        model = build(
            source,
            classes=data.classes,
            from_scratch=request.from_scratch,
            seed=request.seed,
            input_size=request.input_size,
            in_chans=request.in_chans,
        )
        mode = _mode(request, model, splits)
        engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
        engine.place(model.chain)
    refined = []
    if texts is not None:
        with clock.part("language"):
            refined = [_refine(request, model, engine, splits[TRAIN], texts, clock, progress)]
    with clock.part("plan"):
        decided, costs = _decide(request, source, data, model, engine, mode, splits, clock)
        decided = replace(decided, choices=(*refined, *decided.choices))
        if VAL in splits and not decided.trained:
            splits = _splits(request, data, holds_out=False)
        sizes = _sizes(decided.recipe.batch_size, splits)
        estimate = None
        if costs is not None:
            estimate = plan.estimate(decided, costs, sizes, weights=_bytes(model))
        progress.plan(decided, estimate)
    if request.plan_only:
        shown = {"plan": decided.to_json(), "estimate": estimate and asdict(estimate)}
        return Result(plan=decided, val=None, test=None, report=shown)
    carries = _carries(request, decided, model, engine, splits, progress)
    deadline = clock.deadline(_budget(request))
    run = Run(decided, model.chain, engine, carries, splits, progress, deadline=deadline)
    checkpoint = Checkpoint(
        request.out,
        facts={"plan": decided.to_json(), "data": data.fingerprint, "versions": report.versions()},
        every=request.checkpoint_seconds,
    )
    with frozen_proof(model.chain, decided.cut) as proof:
        with clock.part("features"):
            run.prepare()
        with clock.part("solve"):
            run.solve()
            baselines = run.baselines()
        with clock.part("train"):
            history = run.train(checkpoint, resume=request.resume)
        proof.cut = run.plan.cut
    with clock.part("evaluate"):
        val = run.validation()
        test = run.score(TEST) if TEST in splits else None
    with clock.part("findings"):
        findings = run.findings(baselines)
    with clock.part("export"):
        written = report.compose(
            plan=run.plan,
            model=model,
            data=data,
            splits=splits,
            proof=proof,
            history=history,
            val=val,
            test=test,
            seconds=clock.seconds(),
            findings=findings,
            decisions=run.decisions,
            notes=carries.notes,
        )
        if processes.is_main():
            export.save(model, request.out, written, overwrite=request.overwrite)
            checkpoint.remove()
            if request.suspects is not None and findings.suspects is not None:
                _write_suspects(request.suspects, findings.suspects, data.classes, splits)
        processes.meet()
    return Result(
        plan=run.plan,
        val=val,
        test=test,
        report=written.report | {"out": str(request.out), "seconds": clock.seconds()},
    )


def _decide(
    request: Request,
    source: Source,
    data: Dataset,
    model: Model,
    engine: Engine,
    mode: Mode,
    splits: Mapping[str, Split],
    clock: Clock,
) -> tuple[Plan, Costs | None]:
    """The plan, and the measured costs where it or its reader needs them."""
    sizes = _sizes(request.batch_size or 32, splits)
    measured = request.strategy == AUTO or request.plan_only
    costs = None
    if measured:
        inputs = _inputs(splits[TRAIN], model)
        costs = measure(model.chain, engine, inputs, batch_size=sizes.batch)
    decided = plan.resolve(
        request,
        source=source,
        data=data,
        chain=model.chain,
        mode=mode,
        counts=np.bincount(splits[TRAIN].labels, minlength=len(data.classes)),
        groups=_groups(splits[TRAIN]),
        sizes=sizes,
        costs=costs,
        seconds=_budget(request) - clock.seconds().get("language", 0.0),
    )
    return decided, costs


def _groups(split: Split) -> int:
    return 0 if split.groups is None else len(np.unique(split.groups))


def _write_suspects(
    path: Path, found: Suspects, classes: Sequence[str], splits: Mapping[str, Split]
) -> None:
    ids = [name for part in (TRAIN, VAL) if part in splits for name in splits[part].ids]
    text = suspects.table(found, ids, classes)
    fsops.write_file(path, text.encode("utf-8", "backslashreplace"))


def _refine(
    request: Request,
    model: Model,
    engine: Engine,
    labelled: Split,
    texts: list[str],
    clock: Clock,
    progress: Progress,
) -> Choice:
    """The source made better by unlabelled text, if that can be; a plan says only that it will be
    tried."""
    if request.plan_only:
        value, why = f"language model of {len(texts)} texts", "kept if the solved head gains by it"
        return Choice(what="unlabelled", value=value, why=why)
    return unlabelled.refine(
        model,
        engine,
        labelled,
        texts,
        kind=request.head,
        batch_size=request.batch_size or 32,
        seed=request.seed,
        deadline=clock.deadline(_budget(request) / 2),
        progress=progress,
    )


def _budget(request: Request) -> float:
    if request.budget is not None:
        return request.budget
    return BUDGET if request.strategy == AUTO else math.inf


def _sizes(batch: int, splits: Mapping[str, Split]) -> Sizes:
    train, val, test = (len(splits[name]) if name in splits else 0 for name in (TRAIN, VAL, TEST))
    return Sizes(train=train, val=val, test=test, batch=batch)


def _bytes(model: Model) -> int:
    state = model.chain.net.state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in state)


def _splits(request: Request, data: Dataset, *, holds_out: bool) -> dict[str, Split]:
    """The training part, what is held out of it where epochs have to be compared, and the test
    part. A solved head compares by leave-one-out and trains on everything."""
    train = data.train
    if request.labels_per_class is not None:
        train = sample_per_class(train, request.labels_per_class, request.seed)
    splits = {TRAIN: train}
    spare = request.strategy != AUTO or np.bincount(train.labels).max() > 1
    if holds_out and spare:
        splits[TRAIN], splits[VAL] = hold_out(train, request.val_fraction, request.seed)
    if data.test is not None:
        splits[TEST] = data.test
    return splits


def _carries(
    request: Request,
    decided: Plan,
    model: Model,
    engine: Engine,
    splits: Mapping[str, Split],
    progress: Progress,
) -> Carries:
    augment, varied = decided.recipe.augment, None
    if augment != "none":
        varied = model.source.family.preprocessor(model.source.config, augment=augment)
    cache = None
    if request.cache_gb > 0:
        cache = Cache(cache_folder(), limit=round(request.cache_gb * 1e9))
    return Carries(
        model,
        engine,
        splits,
        batch_size=decided.recipe.batch_size,
        progress=progress,
        cache=cache,
        varied=varied,
        views=request.views,
        seed=decided.seed,
        keep=KEPT if decided.trained else 0,
    )


def _mode(request: Request, model: Model, splits: Mapping[str, Split]) -> Mode:
    feed = _inputs(splits[TRAIN], model)
    batch = next(feed.batches([np.arange(min(4, len(feed)))]))
    return choose(model.chain, batch, wanted=request.precision, device=processes.device())


def _inputs(split: Split, model: Model) -> Inputs:
    return Inputs(split, model.preprocessor, channels=model.channels)
