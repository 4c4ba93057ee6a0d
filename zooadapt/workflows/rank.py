"""The story of `rank`: which pretrained model suits a data set, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from zooadapt.data import Dataset, Split, sample_per_class
from zooadapt.data.reading import existing
from zooadapt.data.splits import stratified_order
from zooadapt.errors import ZooadaptError
from zooadapt.runtime import distributed, memory
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock, Imports
from zooadapt.runtime.wording import counted
from zooadapt.workflows import measuring, rank_page, rank_report
from zooadapt.workflows.candidates import Candidates, open_candidates
from zooadapt.workflows.measuring import Task
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.workflows.ranking import Round, level_of, measure_baselines
from zooadapt.workflows.source_measurement import Measurement

SIZES = (256, 1024, 4096, 16384)
"""Samples of the rounds: four times as many halve the standard error. Beyond the last it is below
half a point of accuracy."""
LEAST_PER_CLASS = 4
"""Samples a class in the smallest sample, in the mean."""


def rank(request: RankRequest, progress: Progress, *, data: object = None) -> dict[str, Any]:
    """Sources in the order in which their features suit the data, as `zooadapt rank --json` prints
    them. data: what a program holds in memory, in place of `request.data`.

    Every source is measured on a stratified sample of the training part. While others or a baseline
    are not significantly different from the best one, these are measured on a larger sample, as far
    as the budget goes; on the last sample the sources that were dropped before are measured again.
    The test part is not touched. A source that fails is a row with its reason.
    Raises: UsageError for processes that cannot be had; OutputError for a report that cannot be
    written; the error of the sources where all fail;
    NotFoundError where there is none to try; and as `open_dataset`.
    """
    clock = Clock()
    measuring.check(request)
    if request.report is not None:
        rank_page.check_place(request.report)
    if data is None and not request.data.startswith("hf:"):
        existing(request.data)
    memory.check_libraries()
    candidates, opened = open_candidates(request, progress, clock, data)
    sources = dict(candidates.sources)
    imports = Imports([name for one in sources.values() for name in one.family.imports])
    with clock.part("data"):
        candidates.drop_unsuitable(opened, request.seed)
        pool, notes = _distinct(_drawn(opened.train, request))
    progress.doing("importing the networks' libraries")
    with clock.part("imports"):
        imports.wait()
    order, stopped = stratified_order(pool.strata, request.seed), rank_report.DECIDED
    samples = [pool.subset(np.sort(order[:size])) for size in _sizes(pool, opened)]
    contest = _Contest(
        candidates=candidates,
        data=opened,
        request=request,
        progress=progress,
        clock=clock,
        deadline=clock.deadline(request.budget),
        first=samples[0],
        level=level_of(len(candidates.sources), len(samples)),
    )
    rounds: list[Round] = []
    started = time.monotonic()
    for sample in samples:
        if rounds and not _fits(
            rounds[-1], len(sample), time.monotonic() - started, contest.deadline
        ):
            stopped = rank_report.BUDGET
            break
        if rounds:
            tied = counted(len(rounds[-1].tied), "source")
            progress.say(f"{rounds[-1].n} samples do not decide: measuring {tied} on {len(sample)}")
        started = time.monotonic()
        current = contest.round(sample, rounds[-1].tied if rounds else tuple(candidates.sources))
        if current is None:
            stopped = rank_report.FAILED
            break
        if current.decided or sample is samples[-1]:
            current = contest.with_dropped(current, sample, rounds)
        rounds.append(current)
        if current.decided:
            break
    else:
        stopped = rank_report.ALL if len(sample) == len(pool) else rank_report.LARGEST
    if not rounds:
        raise candidates.failure
    ranking = rank_report.report(
        request,
        opened,
        sources,
        candidates.failures,
        rounds,
        pool=len(pool),
        stopped=stopped,
        notes=[*opened.notes, *notes, *contest.notes],
        seconds=clock.seconds(),
    )
    if request.report is not None and distributed.is_main():
        rank_page.write(request.report, ranking)
    return ranking


@dataclass(kw_only=True)
class _Contest:
    """Measures sources in rounds."""

    candidates: Candidates
    data: Dataset
    request: RankRequest
    progress: Progress
    clock: Clock
    deadline: float
    first: Split
    """The smallest sample."""
    level: float

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    def round(self, sample: Split, names: Sequence[str]) -> Round | None:
        """These sources on a sample; None where all of them fail, which are dropped. Once the
        budget has ended, the smallest sample measures no further source."""
        ends = None
        if sample is self.first:
            ends = time.time() + self.deadline - time.monotonic()
        if not (measurements := self._measured(sample, names, ends)):
            return None
        self.progress.doing("measuring the baselines")
        with self.clock.part("baselines"):
            scores, notes = measure_baselines(sample, self.data.task, seed=self.request.seed)
        self.notes += [note for note in notes if note not in self.notes]
        return Round(
            n=len(sample),
            measurements=measurements,
            baselines=scores,
            groups=sample.groups,
            level=self.level,
        )

    def with_dropped(self, current: Round, sample: Split, rounds: Sequence[Round]) -> Round:
        """The round with the sources that an earlier one dropped measured on the same sample, best
        first, as many as the budget allows: on more samples another one may be the best."""
        before = rank_report.ranked(rounds)
        dropped = [
            name
            for name in before
            if name not in current.measurements and name in self.candidates.sources
        ]
        seconds = accumulate(
            len(sample) * before[name].measurements[name].cost.seconds for name in dropped
        )
        names = [
            name
            for name, spent in zip(dropped, seconds, strict=True)
            if not _over(self.deadline - spent)
        ]
        if not names:
            return current
        again = counted(len(names), "source")
        self.progress.say(f"measuring {again} that fewer samples ruled out on {len(sample)}")
        return replace(
            current, measurements={**current.measurements, **self._measured(sample, names, None)}
        )

    def _measured(
        self, sample: Split, names: Sequence[str], ends: float | None
    ) -> dict[str, Measurement]:
        """Each source measured on a sample; those that fail are dropped."""
        tasks = [
            Task(
                name=name,
                sample=sample,
                first=self.first,
                learned=self.data.task,
                request=self.request,
                ends=ends if number else None,
            )
            for number, name in enumerate(names)
        ]
        measurements = {}
        with self.clock.part("measuring"):
            results = measuring.outcomes(
                tasks, self.candidates.sources, self.request, self.progress
            )
            for name, outcome in results:
                if isinstance(outcome, ZooadaptError):
                    self.candidates.drop(name, outcome)
                else:
                    measurements[name] = outcome
        return measurements


def _drawn(train: Split, request: RankRequest) -> Split:
    """The samples that `adapt` would use."""
    if request.labels_per_class is None:
        return train
    return sample_per_class(train, request.labels_per_class, request.seed)


def _distinct(train: Split) -> tuple[Split, list[str]]:
    """The samples without those that repeat the content of another one, and a note on these."""
    first: dict[bytes, int] = {}
    rows = [k for k, digest in enumerate(train.digests) if first.setdefault(digest, k) == k]
    repeated = len(train) - len(rows)
    if not repeated:
        return train, []
    equal = f"{repeated} of {len(train)} training samples are equal to another one: left out"
    return train.subset(np.array(rows)), [equal]


def _sizes(pool: Split, data: Dataset) -> list[int]:
    """Of the sample in each round."""
    least = min(LEAST_PER_CLASS * len(data.classes), SIZES[-1])
    return sorted({min(size, len(pool)) for size in SIZES if size >= least})


def _fits(last: Round, size: int, seconds: float, deadline: float) -> bool:
    """Whether the tied sources of a round, which took so many seconds, can be measured on a sample
    of this size before the deadline: a pass over the new samples, or as long as the round took for
    each sample, whatever is more, since the round may have found its activations stored."""
    passes = sum(last.measurements[name].cost.seconds for name in last.tied) * (size - last.n)
    again = seconds * len(last.tied) / len(last.measurements) * size / last.n
    return not _over(deadline - max(passes, again))


def _over(deadline: float) -> bool:
    """Whether the time has passed in any process."""
    return distributed.any_process(time.monotonic() > deadline)
