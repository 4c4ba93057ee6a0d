"""Sources measured one after the other, in several processes, or on a Ray cluster."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from zooadapt.data import Split
from zooadapt.errors import (
    ResourceError,
    TryAgainError,
    UnavailableError,
    UsageError,
    ZooadaptError,
)
from zooadapt.runtime import distributed, failures
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.wording import counted
from zooadapt.tasks.task import Task as LabelTask
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.workflows.source_measurement import Measurement, measure
from zooadapt.zoo.sources import Source, open_source

_PATIENCE = 10.0
INSTALL_RAY = "pip install 'zooadapt[ray]'"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One source to measure on one sample, as a process of another machine can be told."""

    name: str
    sample: Split
    first: Split
    learned: LabelTask
    request: RankRequest
    ends: float | None
    """The `time.time()` after which it is not begun; None where it is begun in any case."""


Outcome = Measurement | ZooadaptError


def check(request: RankRequest) -> None:
    """See that the processes that a request wants can be had, before anything is opened.

    Raises: UsageError for several processes of a run that is launched in several processes already,
    and for Ray where it is not installed.
    """
    if request.workers == 1 and request.ray is None:
        return
    option = "--workers" if request.ray is None else "--ray"
    if "LOCAL_RANK" in os.environ:
        raise UsageError(
            f"{option} starts processes of its own, and this run was launched in several",
            thing=option,
            remedy="run it without accelerate launch",
        )
    if request.ray is not None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"--ray needs Ray, which cannot be imported: {error}",
                thing="--ray",
                remedy=INSTALL_RAY,
            ) from error


def outcomes(
    tasks: Sequence[Task], sources: Mapping[str, Source], request: RankRequest, progress: Progress
) -> Iterator[tuple[str, Outcome]]:
    """The measurement of each task or its failure, in order. sources: those of the tasks, opened.

    Raises: ResourceError where a process was ended from outside; UnavailableError for a cluster
    that does not answer.
    """
    if request.ray is None and (request.workers == 1 or len(tasks) == 1):
        for task in tasks:
            yield task.name, _outcome(task, sources[task.name], progress)
        return
    progress.doing(f"measuring {counted(len(tasks), 'source')} at the same time")
    yield from zip((task.name for task in tasks), _in_processes(tasks, request), strict=True)


def _in_processes(tasks: Sequence[Task], request: RankRequest) -> list[Outcome]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    calls = [delayed(_opened_outcome)(task) for task in tasks]
    try:
        if request.ray is None:
            return list(Parallel(n_jobs=min(request.workers, len(tasks)))(calls))
        with _cluster(request.ray):
            jobs = request.workers if request.workers > 1 else -1
            return list(Parallel(n_jobs=jobs, backend="ray", batch_size=1)(calls))
    except TerminatedWorkerError as error:
        raise ResourceError(
            "a process that measured a source was ended from outside; memory may have run out",
            thing="--workers",
            remedy=f"--workers {max(1, request.workers // 2)}",
        ) from error


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """A Ray cluster as joblib's backend. Raises: UnavailableError where it does not answer."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.util.joblib import register_ray

    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        host, colon, port = address.rpartition("://")[2].rpartition(":")
        if colon:  # Ray itself goes on trying for minutes
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        ray.init(address, log_to_driver=False, ignore_reinit_error=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at '{address}': {error}",
            thing=address,
            remedy="ray start --head, or --ray local",
        ) from error
    try:
        with suppress(ValueError):  # not in the main thread, where Ray leaves it alone
            signal.signal(signal.SIGTERM, on_termination)
        register_ray()
        yield
    finally:
        ray.shutdown()


def _opened_outcome(task: Task) -> Outcome:
    """In a process of its own, which opens the source itself."""
    if (late := _late(task)) is not None:
        return late
    try:
        source = open_source(task.name, offline=task.request.offline)
    except Exception as error:
        return _expected(error)
    return _outcome(task, source, Progress())


def _outcome(task: Task, source: Source, progress: Progress) -> Outcome:
    if (late := _late(task)) is not None:
        return late
    try:
        return measure(source, task.sample, task.first, task.learned, task.request, progress)
    except Exception as error:
        return _expected(error)


def _expected(error: Exception) -> ZooadaptError:
    """Raises: the error itself where it is a bug."""
    expected = failures.expected(error)
    if expected is None:
        raise error
    return expected


def _late(task: Task) -> TryAgainError | None:
    if task.ends is None or not distributed.any_process(time.time() > task.ends):
        return None
    return TryAgainError(
        "the budget ended before it was measured",
        thing=task.name,
        remedy=f"--budget {2 * task.request.budget:g}s",
    )
