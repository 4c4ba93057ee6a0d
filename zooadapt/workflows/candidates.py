"""The sources that `rank` compares, and the data as they read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zooadapt.data import Dataset, dataset_of, open_dataset
from zooadapt.errors import DataError, NotFoundError, UsageError, ZooadaptError
from zooadapt.runtime import failures
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.runtime.wording import counted
from zooadapt.workflows import learned_samples
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.zoo import catalogue
from zooadapt.zoo.sources import Source, open_source


@dataclass(kw_only=True)
class Candidates:
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


def open_candidates(
    request: RankRequest, progress: Progress, clock: Clock, data: object
) -> tuple[Candidates, Dataset]:
    """The sources, and the data as they read it. Where no source is named, those on this machine
    that read what the data are.

    Raises: the error of the sources where all fail; NotFoundError where there is none; DataError
    for labels other than one class a sample; and as `open_dataset`.
    """
    candidates, opened = _opened(request, progress, clock, data)
    if not opened.task.counts_classes:
        raise DataError(
            f"'{opened.name}' is data for {opened.task.name}, and sources are compared where every "
            "sample has one class",
            thing=opened.name,
            remedy="name the source: zooadapt adapt SOURCE DATA -o OUT",
        )
    return candidates, opened


def _opened(
    request: RankRequest, progress: Progress, clock: Clock, data: object
) -> tuple[Candidates, Dataset]:
    """The sources and the data, whatever their labels."""
    candidates = Candidates()
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
