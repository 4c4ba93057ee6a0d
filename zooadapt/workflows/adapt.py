"""The story of a run: the only file that knows the order of things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.precision import Mode
from zooadapt.backbone.pretrained import Model, build
from zooadapt.backbone.staged import FrozenProof, frozen_proof, state_sha256
from zooadapt.data import Split
from zooadapt.data.splits import TEST, TRAIN, VAL
from zooadapt.heads.findings import Findings
from zooadapt.runtime import csv_output, distributed, memory, outputs
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Imports
from zooadapt.tasks import label_issues
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.task import Task
from zooadapt.training import crops, pooling, target_adaptation, weight_averaging
from zooadapt.training.checkpoint import Checkpoint, source_of
from zooadapt.training.config import Request
from zooadapt.training.plan import Plan
from zooadapt.training.plan_lines import plan_lines
from zooadapt.training.planning import holds_out
from zooadapt.training.policy import Policy
from zooadapt.training.resume import options_of
from zooadapt.training.run import Run
from zooadapt.training.run_state import RunState
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
from zooadapt.workflows import best, export, html_report, report, sample_pictures
from zooadapt.workflows.html_report import Examples
from zooadapt.workflows.inputs import Opened, open_inputs


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ended with; `report` is what `report.json` holds and `--json` prints. Without
    metrics where only the plan was asked for."""

    plan: Plan
    val: Figures | None
    test: Figures | None
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


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The network and the parts of the data, with what was chosen about both before the plan."""

    policy: Policy
    splits: Mapping[str, Split]
    target: Split | None
    """Samples without labels."""
    model: Model
    engine: Engine
    mode: Mode
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    resumed: Plan | None
    """The plan of the run that is resumed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What there is to export once the model is chosen and measured."""

    state: RunState
    task: Task
    """As the run settled it."""
    splits: Mapping[str, Split]
    findings: Findings
    proof: FrozenProof
    notes: list[str]
    checkpoint: Checkpoint


def _adapt(progress: Progress, opened: Opened) -> Result:
    ready = _prepare(progress, opened)
    setup = _plan(progress, opened, ready)
    if opened.request.plan_only:
        estimate = setup.estimate and asdict(setup.estimate)
        facts = {"plan": setup.plan.to_json(), "estimate": estimate, "notes": [*opened.data.notes]}
        return Result(plan=setup.plan, val=None, test=None, report=facts)
    return _export(progress, opened, ready, _carry_out(progress, opened, ready, setup))


def _prepare(progress: Progress, opened: Opened) -> Ready:
    """Divide the data, build the network, and choose precision, pooling and crop; then make the
    network better by samples without labels, if there are any."""
    request, source, data, clock = opened.request, opened.source, opened.data, opened.clock
    imports = Imports(source.family.imports)
    with clock.part("data"):
        splits = divide(request, data, holds_out=holds_out(request.strategy))
        target = None
        if request.unlabelled is not None:
            reading = replace(request.reading, white=data.white)
            target = target_adaptation.read(request.unlabelled, source, data.test, reading)
    progress.doing(" ".join(["importing", *source.family.imports]))
    with clock.part("imports"):
        imports.wait()
    progress.doing("measuring in which precision and layout the network is fastest here")
    train, batch_size = splits[TRAIN], request.batch_size or 32
    with clock.part("plan"):
        builder = partial(
            build,
            task=data.task,
            from_scratch=request.from_scratch,
            seed=request.seed,
            input_size=request.input_size,
            in_chans=request.in_chans,
            crop=None if request.crop == AUTO else request.crop,
            max_length=request.max_length,
        )
        model = builder(source)
        export.check_names(model)
        resumed = restored(opened.interrupted) if opened.interrupted else None
        mode = choose_mode(request, model, train, resumed)
        engine = Engine(precision=mode.precision, channels_last=mode.channels_last)
        engine.place(model.backbone)
        model, pooled = pooling.choose(
            model, engine, train, builder, batch_size=batch_size, progress=progress
        )
        framed = crops.settle(request, model, engine, train, progress)
    choices = (*pooled, *framed.choices)
    if target is not None and resumed is not None:
        framed.model.backbone.net.load_state_dict(source_of(request.out))
    elif target is not None:
        with clock.part("unlabelled"):
            half = clock.deadline(seconds_for(request) / 2)
            choices += (
                refine(
                    request, framed.model, engine, train, target, deadline=half, progress=progress
                ),
            )
    return Ready(
        policy=Policy.of(request),
        splits=splits,
        target=target,
        model=framed.model,
        engine=engine,
        mode=mode,
        choices=choices,
        notes=(*framed.notes, *(target.notes if target is not None else ())),
        resumed=resumed,
    )


def _plan(progress: Progress, opened: Opened, ready: Ready) -> Setup:
    """Decide what the run does, say it with what it will cost, and see that memory suffices."""
    progress.doing("measuring what the network costs here")
    with opened.clock.part("plan"):
        setup = decide(
            opened.request,
            ready.policy,
            opened.source,
            opened.data,
            ready.model,
            ready.engine,
            ready.mode,
            ready.splits,
            target=ready.target,
            clock=opened.clock,
            before=ready.choices,
            resumed=ready.resumed,
        )
        estimate = setup.estimate
        seconds = None if estimate is None else estimate.seconds
        progress.plan(plan_lines(setup.plan, estimate), seconds=seconds)
    if estimate and distributed.device().type == "cpu":
        memory.check(estimate.memory_bytes)
    return setup


def _carry_out(progress: Progress, opened: Opened, ready: Ready, setup: Setup) -> Outcome:
    """Compute what stays frozen, fit the head, train, choose the model, and measure it."""
    request, clock, interrupted = opened.request, opened.clock, opened.interrupted
    net, deadline = ready.model.backbone.net, clock.deadline(seconds_for(request))

    def begin(setup: Setup) -> Run:
        return Run(
            setup.plan,
            ready.policy,
            opened.data.task,
            ready.model.backbone,
            ready.engine,
            open_store(request, setup, ready.model, ready.engine, progress),
            setup.splits,
            progress,
            untrained=lambda: ready.model.untrained(request.seed),
            deadline=deadline,
            trained=interrupted.trained if interrupted else 0.0,
        )

    run = begin(setup)
    checkpoint = Checkpoint(
        request.out,
        facts={
            "network": state_sha256(net.state_dict()),
            "preprocessing": ready.model.preprocessor.config(),
            "data": opened.data.fingerprint,
            "versions": report.versions(),
        },
        every=request.checkpoint_seconds,
        run={
            "options": options_of(request),
            "plan": setup.plan.to_json(),
            "ranking": opened.ranking,
        },
        source=weight_averaging.copy(net) if ready.target is not None else None,
    )
    with frozen_proof(ready.model.backbone, setup.plan.freeze_at) as proof:
        with clock.part("features"):
            run.prepare()
            redivided = redivide(request, opened.data, setup, run.alike)
            if redivided is not setup:
                run, setup = begin(redivided), redivided
                run.prepare()
        progress.doing("fitting the head")
        with clock.part("solve"):
            state = run.baselines(run.fit())
        with clock.part("train"):
            state = run.train(state, checkpoint, resume=interrupted is not None)
        proof.freeze_at = state.plan.freeze_at
    with clock.part("evaluate"):
        state = run.validate(state)
    with clock.part("refit"):
        state = run.refit(state)
    with clock.part("evaluate"):
        state = run.test(state) if TEST in setup.splits else state
    progress.doing("comparing with the baselines")
    with clock.part("findings"):
        state, findings = run.conclude(state)
    return Outcome(
        state=state,
        task=run.task,
        splits=setup.splits,
        findings=findings,
        proof=proof,
        notes=run.notes,
        checkpoint=checkpoint,
    )


def _export(progress: Progress, opened: Opened, ready: Ready, outcome: Outcome) -> Result:
    """Write the model with its report and card."""
    request, data, clock = opened.request, opened.data, opened.clock
    state, issues = outcome.state, outcome.findings.label_issues
    model = export.folded(ready.model, outcome.task)
    assert state.val is not None  # `Run.validate` has set it
    progress.doing(f"writing {request.out}")
    with clock.part("samples"):
        examples, relevance = _look_at_samples(ready, outcome)
    with clock.part("export"):
        written = report.compose(
            plan=state.plan,
            model=model,
            data=data,
            splits=outcome.splits,
            proof=outcome.proof,
            history=state.history,
            val=state.val,
            test=state.test,
            seconds=clock.seconds(),
            findings=outcome.findings,
            decisions=state.decisions,
            refitted=state.refitted,
            unlabelled=len(ready.target) if ready.target is not None else 0,
            relevance=relevance,
            notes=[*request.notes, *ready.notes, *outcome.notes],
            chosen_from=opened.ranking and best.summary(opened.ranking),
        )
        if distributed.is_main():
            written = replace(written, page=html_report.page(written.report, examples))
            export.save(model, request.out, written, overwrite=request.overwrite)
            outcome.checkpoint.remove()
            if request.suspects is not None and issues is not None:
                _write_suspects(request.suspects, issues, outcome.splits)
        distributed.barrier()
    listed = {} if request.suspects is None else {"suspects_file": str(request.suspects)}
    facts = {"out": str(request.out), "seconds": clock.seconds()}
    return Result(
        plan=state.plan, val=state.val, test=state.test, report=written.report | facts | listed
    )


def _look_at_samples(ready: Ready, outcome: Outcome) -> tuple[Examples, dict[str, Any] | None]:
    """The samples for the main process's page, and what came of the test of relevant places."""
    examples = Examples()
    state, splits = outcome.state, outcome.splits

    def collect() -> dict[str, Any] | None:
        nonlocal examples
        trained = state.history.steps * state.plan.recipe.batch_size
        examples, computed = sample_pictures.collect(
            ready.model,
            ready.engine,
            splits,
            state.answers,
            outcome.findings.label_issues,
            passes=trained + sum(map(len, splits.values())),
        )
        return computed

    relevance = distributed.broadcast(collect)
    return examples, relevance


def _write_suspects(path: Path, issues: LabelIssues, splits: Mapping[str, Split]) -> None:
    parts = [splits[name] for name in (TRAIN, VAL) if name in splits]
    ids = [name for part in parts for name in part.ids]
    texts = [part.text(index) for part in parts for index in range(len(part))]
    csv_output.write(path, label_issues.COLUMNS, label_issues.rows(issues, ids, texts))
