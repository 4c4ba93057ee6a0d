"""The story of a run: the only file that knows the order of things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import build
from zooadapt.backbone.staged import frozen_proof, state_sha256
from zooadapt.data import Split
from zooadapt.data.splits import TEST, TRAIN, VAL
from zooadapt.heads import label_issues
from zooadapt.heads.label_issues import LabelIssues
from zooadapt.heads.metrics import Metrics
from zooadapt.runtime import csv_output, distributed, memory, outputs
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Imports
from zooadapt.training import crops, pooling, target_adaptation, weight_averaging
from zooadapt.training.checkpoint import Checkpoint, source_of
from zooadapt.training.config import Request
from zooadapt.training.plan import Plan
from zooadapt.training.plan_lines import plan_lines
from zooadapt.training.planning import holds_out
from zooadapt.training.policy import Policy
from zooadapt.training.resume import options_of
from zooadapt.training.run import Run
from zooadapt.training.setup import (
    Setup,
    choose_mode,
    decide,
    divide,
    open_store,
    redivide,
    refine,
    restored,
    seconds_for,
)
from zooadapt.training.strategies import AUTO
from zooadapt.workflows import export, report
from zooadapt.workflows.inputs import Opened, open_inputs


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ended with; `report` is what `report.json` holds and `--json` prints. Without
    metrics where only the plan was asked for."""

    plan: Plan
    val: Metrics | None
    test: Metrics | None
    report: dict[str, Any]


def adapt(request: Request, progress: Progress, *, opened: Opened | None = None) -> Result:
    """Adapt a source to a data set and write the export to `request.out`, as a whole or not at all;
    no other run writes there meanwhile. `opened` is what `open_inputs` gave for this request.

    Raises: any ZooadaptError of the layers below, most of them before any long work.
    """
    opened = opened or open_inputs(request, progress)
    if request.plan_only:
        return _adapt(progress, opened)
    with outputs.claim(request.out, overwrite=opened.request.overwrite) as note:
        if note:
            progress.say(f"note: {note}")
        return _adapt(progress, opened)


def _adapt(progress: Progress, opened: Opened) -> Result:
    request, source, data, clock = opened.request, opened.source, opened.data, opened.clock
    interrupted, policy = opened.interrupted, Policy.of(request)
    imports = Imports(source.family.imports)
    with clock.part("data"):
        splits: Mapping[str, Split] = divide(request, data, holds_out=holds_out(request.strategy))
        target = None
        if request.unlabelled is not None:
            reading = replace(request.reading, white=data.white)
            target = target_adaptation.read(request.unlabelled, source, data.test, reading)
    progress.doing(" ".join(["importing", *source.family.imports]))
    with clock.part("imports"):
        imports.wait()
    progress.doing("measuring in which precision and layout the network is fastest here")
    with clock.part("plan"):
        builder = partial(
            build,
            classes=data.classes,
            from_scratch=request.from_scratch,
            seed=request.seed,
            input_size=request.input_size,
            in_chans=request.in_chans,
            crop=None if request.crop == AUTO else request.crop,
            max_length=request.max_length,
        )
        model = builder(source)
        export.check_names(model)
        before = restored(interrupted) if interrupted else None
        mode = choose_mode(request, model, splits[TRAIN], before)
        engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
        engine.place(model.backbone)
        model, pooled = pooling.choose(
            model,
            engine,
            splits[TRAIN],
            builder,
            batch_size=request.batch_size or 32,
            progress=progress,
        )
        framed = crops.settle(request, model, engine, splits[TRAIN], progress)
        model = framed.model
    budget = seconds_for(request)
    refined: tuple[Choice, ...] = ()
    if target is not None and before is not None:
        model.backbone.net.load_state_dict(source_of(request.out))
    elif target is not None:
        with clock.part("unlabelled"):
            half = clock.deadline(budget / 2)
            refined = (
                refine(
                    request, model, engine, splits[TRAIN], target, deadline=half, progress=progress
                ),
            )
    progress.doing("measuring what the network costs here")
    with clock.part("plan"):
        prepared = decide(
            request,
            policy,
            source,
            data,
            model,
            engine,
            mode,
            splits,
            target=target,
            clock=clock,
            before=(*pooled, *framed.choices, *refined),
            resumed=before,
        )
        decided, splits, estimate = prepared.plan, prepared.splits, prepared.estimate
        seconds = None if estimate is None else estimate.seconds
        progress.plan(plan_lines(decided, estimate), seconds=seconds)
    if estimate and distributed.device().type == "cpu":
        memory.check(estimate.memory_bytes)
    if request.plan_only:
        facts = {
            "plan": decided.to_json(),
            "estimate": estimate and asdict(estimate),
            "notes": list(data.notes),
        }
        return Result(plan=decided, val=None, test=None, report=facts)
    deadline = clock.deadline(budget)

    def begin(prepared: Setup) -> Run:
        return Run(
            prepared.plan,
            policy,
            model.backbone,
            engine,
            open_store(request, prepared, model, engine, progress),
            prepared.splits,
            progress,
            untrained=lambda: model.untrained(request.seed),
            deadline=deadline,
            trained=interrupted.trained if interrupted else 0.0,
        )

    run = begin(prepared)
    checkpoint = Checkpoint(
        request.out,
        facts={
            "network": state_sha256(model.backbone.net.state_dict()),
            "preprocessing": model.preprocessor.config(),
            "data": data.fingerprint,
            "versions": report.versions(),
        },
        every=request.checkpoint_seconds,
        run={
            "options": options_of(request),
            "plan": decided.to_json(),
        },
        source=weight_averaging.copy(model.backbone.net) if target is not None else None,
    )
    with frozen_proof(model.backbone, decided.freeze_at) as proof:
        with clock.part("features"):
            run.prepare()
            redivided = redivide(request, data, prepared, run.alike)
            if redivided is not prepared:
                run, splits = begin(redivided), redivided.splits
                run.prepare()
        progress.doing("fitting the head")
        with clock.part("solve"):
            at = run.baselines(run.fit())
        with clock.part("train"):
            at = run.train(at, checkpoint, resume=interrupted is not None)
        proof.freeze_at = at.plan.freeze_at
    with clock.part("evaluate"):
        at = run.validate(at)
    assert at.val is not None
    val = at.val
    with clock.part("refit"):
        at = run.refit(at)
    with clock.part("evaluate"):
        at = run.test(at) if TEST in splits else at
    progress.doing("comparing with the baselines")
    with clock.part("findings"):
        at, findings = run.conclude(at)
    progress.doing(f"writing {request.out}")
    with clock.part("export"):
        written = report.compose(
            plan=at.plan,
            model=model,
            data=data,
            splits=splits,
            proof=proof,
            history=at.history,
            val=val,
            test=at.test,
            seconds=clock.seconds(),
            findings=findings,
            decisions=at.decisions,
            refitted=at.refitted,
            unlabelled=len(target) if target is not None else 0,
            notes=[
                *request.notes,
                *framed.notes,
                *(target.notes if target else ()),
                *run.notes,
            ],
        )
        if distributed.is_main():
            export.save(model, request.out, written, overwrite=request.overwrite)
            checkpoint.remove()
            if request.suspects is not None and findings.label_issues is not None:
                _write_suspects(request.suspects, findings.label_issues, data.classes, splits)
        distributed.barrier()
    return Result(
        plan=at.plan,
        val=at.val,
        test=at.test,
        report=written.report
        | {"out": str(request.out), "seconds": clock.seconds()}
        | ({"suspects_file": str(request.suspects)} if request.suspects is not None else {}),
    )


def _write_suspects(
    path: Path, issues: LabelIssues, classes: Sequence[str], splits: Mapping[str, Split]
) -> None:
    parts = [splits[name] for name in (TRAIN, VAL) if name in splits]
    ids = [name for part in parts for name in part.ids]
    texts = [part.text(index) for part in parts for index in range(len(part))]
    csv_output.write(path, label_issues.COLUMNS, label_issues.rows(issues, ids, texts, classes))
