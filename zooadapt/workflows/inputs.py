"""What a run works on, opened before torch is imported: an input of no use fails at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zooadapt.data import Dataset, dataset_of, open_dataset
from zooadapt.data.reading import existing
from zooadapt.runtime import memory, outputs
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.tasks import label_issues
from zooadapt.training import resume
from zooadapt.training.config import Request
from zooadapt.training.resume import Interrupted
from zooadapt.workflows import best, learned_samples
from zooadapt.zoo.sources import Source, open_source


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The source and the data of a request, and the clock of the run."""

    request: Request
    """With the options of the run that it resumes, if it does."""
    interrupted: Interrupted | None
    source: Source
    data: Dataset
    clock: Clock
    ranking: Mapping[str, Any] | None = None
    """By which the source was chosen, where the user left that to one."""


def open_inputs(request: Request, progress: Progress, *, data: object = None) -> Opened:
    """Open the source, its network apart, and read the data: what `request.data` names or, where a
    program holds it in memory, `data`. Imports no torch, unless a ranking is to choose the source.

    Raises: OutputError where the output cannot be made and ResourceError where torch cannot be
    loaded, before anything is opened; and as `open_source`, `open_dataset` and
    `dataset_of`, and as `rank` where that chooses.
    """
    clock, interrupted = Clock(), None
    if request.resume:
        interrupted = resume.load(request.out)
        request = resume.resumed_request(request, interrupted)
        clock = Clock(trained=interrupted.trained)
    ranked, ranking = best.is_best(request), None if interrupted is None else interrupted.ranking
    outputs.check_output(request.out, overwrite=request.overwrite)
    if request.suspects is not None:
        label_issues.check_place(request.suspects)
    if request.unlabelled is not None:
        existing(request.unlabelled)
    if data is None and not request.data.startswith("hf:"):
        existing(request.data)
    memory.check_libraries()
    if ranked and interrupted is not None:
        ranking = best.chosen_before(interrupted)
    elif ranked:
        ranking = best.rank_candidates(request, progress, clock, data=data)
    if ranked and ranking is not None:
        request = replace(request, source=ranking["choice"])
    progress.doing(f"opening {request.source}", shows=not Path(request.source).exists())
    with clock.part("source"):
        source = open_source(request.source, offline=request.offline)
    progress.doing(f"reading {request.data}", shows=request.data.startswith("hf:"))
    with clock.part("data"):
        read = partial(open_dataset, request.data, offline=request.offline)
        if data is not None:
            read = partial(dataset_of, data)
        modality = source.family.modality
        labelled = read(modality=modality, options=request.reading, seed=request.seed)
        if not request.from_scratch:
            labelled = learned_samples.marked(
                source, labelled, labels_per_class=request.labels_per_class, seed=request.seed
            )
    return Opened(
        request=request,
        interrupted=interrupted,
        source=source,
        data=labelled,
        clock=clock,
        ranking=ranking,
    )
