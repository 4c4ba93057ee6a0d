"""The story of `rank`: which pretrained model suits a data set, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zooadapt.data import Dataset, Split, dataset_of, open_dataset
from zooadapt.data.reading import existing
from zooadapt.data.splits import stratified_order
from zooadapt.errors import DataError, NotFoundError, TryAgainError, UsageError, ZooadaptError
from zooadapt.runtime import distributed, failures, memory
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.runtime.wording import counted
from zooadapt.workflows import learned_samples, rank_report
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.workflows.ranking import Round, measure_baselines
from zooadapt.workflows.source_measurement import Measurement, measure
from zooadapt.zoo import catalogue
from zooadapt.zoo.sources import Source, open_source

SIZES = (256, 1024, 4096, 16384)
"""Samples of the rounds: four times as many halve the standard error. Beyond the last it is below
half a point of accuracy."""
LEAST_PER_CLASS = 4
"""Samples a class in the smallest sample, in the mean."""


@dataclass(kw_only=True)
class _Candidates:
    """The sources that can still be measured, by the name that the user gave them, and the reasons
    why the others cannot."""

    sources: dict[str, Source] = field(default_factory=dict)
    failures: dict[str, ZooadaptError] = field(default_factory=dict)

    def open(self, names: Sequence[str], request: RankRequest, progress: Progress) -> None:
        """Open sources, their networks apart. Raises: the error of the sources where all fail."""
        for name in dict.fromkeys(names):
            progress.doing(f"opening {name}", shows=not Path(name).exists())
            try:
                self.sources[name] = open_source(name, offline=request.offline)
            except Exception as error:
                self.drop(name, error)
        if not self.sources:
            raise self.failure

    def drop(self, name: str, error: Exception) -> None:
        """Measure a source no further. Raises: the error itself where it is a bug."""
        expected = failures.expected(error)
        if expected is None:
            raise error
        self.sources.pop(name, None)
        self.failures[name] = expected

    def drop_unsuitable(self, data: Dataset, seed: int) -> None:
        """Drop sources that read another modality, and those that were trained on some of the data.
        Raises: the error of the sources where none is left."""
        for name, source in list(self.sources.items()):
            modality = source.family.modality
            if modality != data.modality:
                message = f"'{name}' reads {modality} data, and this is {data.modality} data"
                self.drop(name, DataError(message, thing=name, remedy="leave it out"))
                continue
            learned = learned_samples.marked(source, data, seed=seed).train.learned
            if learned.any():
                message = (
                    f"'{name}' has learned {counted(int(learned.sum()), 'training sample')} of "
                    f"{len(learned)}, so its figures would say nothing of new data"
                )
                remedy = "rank what it was made from"
                self.drop(name, DataError(message, thing=name, remedy=remedy))
        if not self.sources:
            raise self.failure

    @property
    def failure(self) -> ZooadaptError:
        """Of sources that all failed: the only one's own, or one of the first one's kind."""
        first, *others = self.failures.values()
        if not others:
            return first
        each = "; ".join(f"{name}: {error}" for name, error in self.failures.items())
        return type(first)(
            f"no source can be ranked: {each}", thing=first.thing, remedy=first.remedy
        )


def rank(request: RankRequest, progress: Progress, *, data: object = None) -> dict[str, Any]:
    """Sources in the order in which their features suit the data, as `zooadapt rank --json` prints
    them. data: what a program holds in memory, in place of `request.data`.

    Every source is measured on a stratified sample of the training part. While others or a baseline
    are not significantly different from the best one, these are measured on a larger sample, as far
    as the budget goes. The test part is not touched. A source that fails is a row with its reason.
    Raises: the error of the sources where all fail; NotFoundError where there is none to try; and
    as `open_dataset`.
    """
    clock = Clock()
    deadline = clock.deadline(request.budget)
    if data is None and not request.data.startswith("hf:"):
        existing(request.data)
    memory.check_libraries()
    candidates, opened = _open(request, progress, clock, data)
    sources = dict(candidates.sources)
    with clock.part("data"):
        candidates.drop_unsuitable(opened, request.seed)
        pool, notes = _distinct(opened.train)
    rounds: list[Round] = []
    order, stopped = stratified_order(pool.labels, request.seed), rank_report.DECIDED
    samples = [pool.subset(np.sort(order[:size])) for size in _sizes(pool, opened)]
    started = time.monotonic()
    for sample in samples:
        if rounds and not _fits(rounds[-1], len(sample), time.monotonic() - started, deadline):
            stopped = rank_report.BUDGET
            break
        if rounds:
            tied = counted(len(rounds[-1].tied), "source")
            progress.say(f"{rounds[-1].n} samples do not decide: measuring {tied} on {len(sample)}")
        started = time.monotonic()
        with clock.part("measuring"):
            measurements = dict(
                _measured(
                    candidates, rounds, sample, samples[0], opened, request, deadline, progress
                )
            )
        if not measurements:
            stopped = rank_report.FAILED
            break
        progress.doing("measuring the baselines")
        with clock.part("baselines"):
            scores, more = measure_baselines(sample, len(opened.classes), seed=request.seed)
        notes += [note for note in more if note not in notes]
        rounds.append(
            Round(n=len(sample), measurements=measurements, baselines=scores, groups=sample.groups)
        )
        if rounds[-1].decided:
            break
    else:
        stopped = rank_report.ALL if len(sample) == len(pool) else rank_report.LARGEST
    if not rounds:
        raise candidates.failure
    return rank_report.report(
        request,
        opened,
        sources,
        candidates.failures,
        rounds,
        pool=len(pool),
        stopped=stopped,
        notes=[*opened.notes, *notes],
        seconds=clock.seconds(),
    )


def _open(
    request: RankRequest, progress: Progress, clock: Clock, data: object
) -> tuple[_Candidates, Dataset]:
    """The sources, and the data as they read it. Where no source is named, those on this machine
    that read what the data are."""
    candidates = _Candidates()
    if request.sources:
        candidates.open(request.sources, request, progress)
        modalities = [one.family.modality for one in candidates.sources.values()]
        return candidates, _read(request, modalities, progress, clock, data)
    rows = _on_hand()
    opened = _read(request, [row["modality"] for row in rows], progress, clock, data)
    names = [row["source"] for row in rows if row["modality"] == opened.modality]
    candidates.open(names, request, progress)
    return candidates, opened


def _on_hand() -> list[dict[str, Any]]:
    """The models that need no download. Raises: NotFoundError where there is none."""
    if rows := catalogue.on_hand():
        return rows
    raise NotFoundError(
        "no pretrained model is bundled or downloaded",
        thing="SOURCE",
        remedy="name sources: zooadapt models lists them",
    )


def _read(
    request: RankRequest,
    modalities: Sequence[str],
    progress: Progress,
    clock: Clock,
    data: object,
) -> Dataset:
    """The data, as the first of these modalities that it can be read as.

    Raises: the error where all modalities have the same; DataError with their reasons.
    """
    progress.doing(f"reading {request.data}", shows=request.data.startswith("hf:"))
    reasons: dict[str, ZooadaptError] = {}
    read = partial(open_dataset, request.data, offline=request.offline)
    if data is not None:
        read = partial(dataset_of, data)
    for modality in dict.fromkeys(modalities):
        try:
            with clock.part("data"):
                return read(modality=modality, options=request.reading, seed=request.seed)
        except (DataError, NotFoundError, UsageError) as error:
            reasons[modality] = error
    if len({str(error) for error in reasons.values()}) == 1:
        raise next(iter(reasons.values()))
    raise DataError(
        f"'{request.data}' cannot be read: "
        + "; ".join(f"as {modality} data, {error}" for modality, error in reasons.items()),
        thing=request.data,
        remedy="; ".join(dict.fromkeys(error.remedy for error in reasons.values() if error.remedy)),
    )


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


def _measured(
    candidates: _Candidates,
    rounds: Sequence[Round],
    sample: Split,
    first: Split,
    data: Dataset,
    request: RankRequest,
    deadline: float,
    progress: Progress,
) -> Iterator[tuple[str, Measurement]]:
    """Each source that is not significantly worse than the best, measured on a sample; those that
    fail are dropped. Once the budget has ended, the first round measures no further source."""
    measured = 0
    names = rounds[-1].tied if rounds else tuple(candidates.sources)
    for name in names:
        if not rounds and measured and _over(deadline):
            message = "the budget ended before it was measured"
            more = f"--budget {2 * request.budget:g}s"
            candidates.drop(name, TryAgainError(message, thing=name, remedy=more))
            continue
        try:
            source = candidates.sources[name]
            yield name, measure(source, sample, first, data.classes, request, progress)
            measured += 1
        except Exception as error:
            candidates.drop(name, error)


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
