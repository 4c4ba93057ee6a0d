"""What a run needs before it starts: parts of the data, precision, the plan, the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.cache import Cache
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.precision import Mode, choose, has_bf16
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.staged import prefix_sha256
from zooadapt.data import Dataset, Split, hold_out, sample_per_class
from zooadapt.data.splits import TEST, TRAIN, VAL
from zooadapt.errors import DataError
from zooadapt.runtime import distributed, filesystem
from zooadapt.runtime.choice import Choice
from zooadapt.runtime.measurements import remember
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.training import plan_json, target_adaptation
from zooadapt.training.config import Request
from zooadapt.training.cost_model import Sizes, measure
from zooadapt.training.estimate import Estimate, estimate
from zooadapt.training.operation_counts import count
from zooadapt.training.plan import Plan
from zooadapt.training.planning import holds_out, resolve
from zooadapt.training.policy import BUDGET, Policy
from zooadapt.training.resume import Interrupted
from zooadapt.training.strategies import AUTO, LOST
from zooadapt.zoo.sources import Source

DECODED = 1 << 30
"""Bytes of decoded samples that a run keeps, for each part of the data, if epochs revisit them."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A plan, the parts of the data it is for, and what it will cost where that was measured."""

    plan: Plan
    splits: Mapping[str, Split]
    estimate: Estimate | None


def seconds_for(request: Request) -> float:
    """The budget: what was asked for, or what `auto` takes at most; else there is no end."""
    if request.budget is not None:
        return request.budget
    return BUDGET if request.strategy == AUTO else math.inf


def divide(
    request: Request,
    data: Dataset,
    *,
    holds_out: bool,
    alike: Mapping[bytes, bytes] = MappingProxyType({}),
) -> dict[str, Split]:
    """The training part, what is held out of it where epochs have to be compared, and the test
    part. A fitted head is validated by leave-one-out and learns everything. Held out is the data's
    own validation part, unless only some labels of each class are to be used. alike: contents that
    are nearly equal to another one, which none is held out from."""
    train = data.train
    if request.labels_per_class is not None:
        train = sample_per_class(train, request.labels_per_class, request.seed)
    splits = {TRAIN: train}
    spare = request.strategy != AUTO or np.bincount(train.strata).max() > 1
    if holds_out and spare:
        contents = [alike.get(digest, digest) for digest in train.digests]
        own = data.train_and_val() if request.labels_per_class is None else None
        splits[TRAIN], splits[VAL] = own or hold_out(
            train, request.val_fraction, request.seed, contents
        )
    if data.test is not None:
        splits[TEST] = data.test
    return splits


def redivide(
    request: Request, data: Dataset, prepared: Setup, alike: Mapping[bytes, bytes]
) -> Setup:
    """What was prepared, with no held-out sample that is nearly equal to one that is trained on."""
    own = request.labels_per_class is None and data.train_and_val() is not None
    if VAL not in prepared.splits or own:
        return prepared
    train, val = (
        {alike.get(digest, digest) for digest in prepared.splits[name].digests}
        for name in (TRAIN, VAL)
    )
    if not train & val:
        return prepared
    divided = divide(request, data, holds_out=True, alike=alike)
    splits = {**prepared.splits, **divided}
    decided = replace(prepared.plan, train_samples=len(splits[TRAIN]))
    return replace(prepared, plan=decided, splits=splits)


def restored(interrupted: Interrupted) -> Plan:
    """The plan of an interrupted run, with every choice that was measured for it.

    Raises: DataError for one that this version does not know, or for a device that is not here.
    """
    before = plan_json.plan_of(interrupted.plan)
    device = distributed.device()
    if before.device != device.type or (before.precision == "bf16" and not has_bf16(device)):
        raise DataError(
            f"the interrupted run was on {before.device} in {before.precision}, which is not here",
            thing="device",
            remedy="resume it on the machine that it began on, or run it without --resume",
        )
    return before


def choose_mode(request: Request, model: Model, train: Split, resumed: Plan | None) -> Mode:
    """Precision and layout: those of the run that is resumed, or else measured on a few training
    samples where there is a choice and measuring may decide."""
    if request.deterministic_plan and resumed is None:
        return Mode(
            precision="fp32" if request.precision == "auto" else request.precision,
            channels_last=False,
            device=distributed.device().type,
            why="--deterministic-plan measures nothing",
        )
    if resumed is not None:
        return Mode(
            precision=resumed.precision,
            channels_last=resumed.channels_last,
            device=resumed.device,
            why="the interrupted run's",
        )
    loader = _inputs(train, model)
    batch = next(loader.batches([np.arange(min(4, len(loader)))]))
    return choose(
        model.backbone,
        batch,
        precision=request.precision,
        device=distributed.device(),
        trains=holds_out(request.strategy),
    )


def refine(
    request: Request,
    model: Model,
    engine: Engine,
    train: Split,
    target: Split,
    *,
    deadline: float,
    progress: Progress,
) -> Choice:
    """The source made better by unlabelled samples of the target, if that can be; for a plan alone,
    only that it will be tried."""
    if request.plan_only:
        why = "kept if the fitted head gains by it"
        return Choice(what="unlabelled", value=f"{len(target)} samples", why=why)
    return target_adaptation.refine(
        model,
        engine,
        train,
        target,
        kind=request.head,
        batch_size=request.batch_size or 32,
        seed=request.seed,
        deadline=deadline,
        progress=progress,
    )


def decide(
    request: Request,
    policy: Policy,
    source: Source,
    data: Dataset,
    model: Model,
    engine: Engine,
    mode: Mode,
    splits: Mapping[str, Split],
    *,
    target: Split | None,
    clock: Clock,
    before: tuple[Choice, ...],
    resumed: Plan | None,
) -> Setup:
    """The plan, with costs measured where it or its reader needs them. target: samples without
    labels; clock: of the run; before: choices that were made already; resumed: the plan of the run
    that goes on."""
    train = splits[TRAIN]
    sizes = _sizes(request.batch_size or 32, splits)
    costs = None
    counted = None
    if resumed is None and (request.strategy == AUTO or request.plan_only):
        counted = count(model.backbone, engine, _inputs(train, model), batch_size=sizes.batch)
    if counted is not None and request.deterministic_plan:
        costs = counted
    elif counted is not None:
        costs = measure(
            model.backbone,
            engine,
            _inputs(train, model),
            lengths=_inputs(train, model).lengths(),
            batch_size=sizes.batch,
        )
    budget, spent = seconds_for(request), clock.seconds()
    taken, refining = spent["total"], spent.get("unlabelled", 0.0)
    if target is not None and request.deterministic_plan:
        refining = budget / 2 if request.strategy == AUTO else 0.0  # the most that it may take
    elif request.plan_only and target is not None and costs is not None:
        refining = target_adaptation.seconds(
            model, engine, train, target, costs, batch_size=sizes.batch
        )
        refining = min(refining, budget / 2)
        taken += refining
    elif target is not None and costs is not None:
        # Remembered as costs are, so that the same run comes to the same plan when it is repeated.
        network = prefix_sha256(model.backbone, model.backbone.depth)
        facts = {"network": network, "samples": len(target), "budget": budget}
        refining = remember("refining", facts, lambda: {"seconds": refining})["seconds"]
    planned = partial(
        resolve,
        request,
        policy,
        source=source,
        data=data,
        backbone=model.backbone,
        mode=mode,
        counts=data.task.counts(train.labels),
        groups=0 if train.groups is None else len(np.unique(train.groups)),
        sizes=sizes,
        seconds=budget - refining,
    )
    decided = resumed or planned(costs=costs)
    if resumed is None:
        after: tuple[Choice, ...] = ()
        if request.strategy == AUTO and not request.deterministic_plan:
            after = (_reference(decided, planned(costs=counted)),)
        decided = replace(decided, choices=(*before, *decided.choices, *after))
    if VAL in splits and not decided.trained:
        splits = divide(request, data, holds_out=False)
        decided = replace(decided, train_samples=len(splits[TRAIN]))
    expected = None
    if costs is not None:
        sizes = _sizes(decided.recipe.batch_size, splits)
        expected = estimate(
            decided,
            policy,
            costs,
            sizes,
            weights=_bytes(model),
            decoded=_decoded(decided),
            spent=taken,
            budget=budget,
        )
    return Setup(plan=decided, splits=splits, estimate=expected)


def open_store(
    request: Request, prepared: Setup, model: Model, engine: Engine, progress: Progress
) -> ActivationStore:
    """Feeds of all parts, augmented and cached as the plan and the request say."""
    recipe, cache = prepared.plan.recipe, None
    if request.cache_gb > 0:
        cache = Cache(filesystem.cache_home(), limit=round(request.cache_gb * 1e9))
    return ActivationStore(
        model,
        engine,
        prepared.splits,
        batch_size=recipe.batch_size,
        progress=progress,
        cache=cache,
        augment=recipe.augment,
        keep=_decoded(prepared.plan),
    )


def _reference(decided: Plan, reference: Plan) -> Choice:
    """What the plan would have been by counted operations, so that a reader sees what the load of
    the machine has changed."""
    value = "the same"
    if reference.phases != decided.phases:
        trained = [one.tuned(reference.depth) for one in reference.trained if one.when != LOST]
        value = f"fine-tune {', then '.join(trained)}" if trained else "fit the head alone"
    why = "by counted operations, as --deterministic-plan plans; seconds depend on the load"
    return Choice(what="plan at reference costs", value=value, why=why)


def _sizes(batch: int, splits: Mapping[str, Split]) -> Sizes:
    parts = (TRAIN, VAL, TEST)
    train, val, test = (len(splits[name]) if name in splits else 0 for name in parts)
    return Sizes(train=train, val=val, test=test, batch=batch)


def _decoded(decided: Plan) -> int:
    return DECODED if decided.trained else 0


def _bytes(model: Model) -> int:
    state = model.backbone.net.state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in state)


def _inputs(split: Split, model: Model) -> Inputs:
    return Inputs(
        split,
        model.preprocessor,
        view=model.view,
        variable_length=model.source.family.can.variable_length,
    )
