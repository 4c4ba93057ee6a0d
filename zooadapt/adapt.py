"""The story of a run: the only file that knows the order of things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooadapt import export, fsops, plan, report
from zooadapt.cache import Cache, cache_folder
from zooadapt.carries import Carries
from zooadapt.chain import frozen_proof
from zooadapt.checkpoint import Checkpoint
from zooadapt.data import Dataset, Split, hold_out, open_dataset, sample_per_class
from zooadapt.engine import Engine, default_device
from zooadapt.feed import Inputs
from zooadapt.metrics import Metrics
from zooadapt.model import Model, build, open_source
from zooadapt.plan import Plan, Request
from zooadapt.precision import Mode, choose
from zooadapt.progress import Progress
from zooadapt.run import TEST, TRAIN, VAL, Run
from zooadapt.timing import Clock, Imports


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
        splits = _splits(request, data)
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
        decided = plan.resolve(
            request,
            source=source,
            data=data,
            chain=model.chain,
            mode=mode,
            train_samples=len(splits[TRAIN]),
        )
        progress.plan(decided)
    if request.plan_only:
        return Result(plan=decided, val=None, test=None, report={"plan": decided.to_json()})
    engine = Engine(precision=decided.precision, channels_last=decided.channels_last)
    engine.place(model.chain)
    carries = _carries(request, decided, model, engine, splits, progress)
    run = Run(decided, model.chain, engine, carries, splits, progress)
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
        with clock.part("train"):
            history = run.train(checkpoint, resume=request.resume)
    with clock.part("evaluate"):
        val = run.validation()
        test = run.score(TEST) if TEST in splits else None
    with clock.part("export"):
        written = report.compose(
            plan=decided,
            model=model,
            data=data,
            splits=splits,
            proof=proof,
            history=history,
            val=val,
            test=test,
            seconds=clock.seconds(),
            notes=carries.notes,
        )
        export.save(model, request.out, written, overwrite=request.overwrite)
        checkpoint.remove()
    return Result(
        plan=decided,
        val=val,
        test=test,
        report=written.report | {"out": str(request.out), "seconds": clock.seconds()},
    )


def _splits(request: Request, data: Dataset) -> dict[str, Split]:
    """The training part, what is held out of it where epochs have to be compared, and the test
    part. A solved head compares by leave-one-out and trains on everything."""
    train = data.train
    if request.labels_per_class is not None:
        train = sample_per_class(train, request.labels_per_class, request.seed)
    splits = {TRAIN: train}
    if plan.holds_out(request.strategy):
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
    )


def _mode(request: Request, model: Model, splits: Mapping[str, Split]) -> Mode:
    feed = Inputs(splits[TRAIN], model.preprocessor, channels=model.channels)
    batch = next(feed.batches([np.arange(min(4, len(feed)))]))
    return choose(model.chain, batch, wanted=request.precision, device=default_device())
