"""Several processes that do one run together, as `accelerate launch` starts them.

Every process takes the same steps on its share of the samples, sums are made over all of them, and
what a clock or a measurement decides the main one decides for all. It alone speaks and writes. A
single process shares with nobody: then all of this returns what it was given.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from zooadapt.errors import ResourceError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState
    from torch import Tensor

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long one process waits for another."""


def is_main() -> bool:
    """Whether this is the process that speaks and writes; known without importing torch."""
    return "LOCAL_RANK" not in os.environ or rank() == 0


def rank() -> int:
    """The number of this process, from 0; known without importing torch."""
    return int(os.environ.get("RANK", 0))


def on_host() -> int:
    """How many processes share this machine; known without importing torch."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def device() -> torch.device:
    """The device that `accelerate` gives this process."""
    return _state().device


def shard(work: Any, *, least: int = 0) -> Any:
    """Every n-th item of a list or array, n being its `sharers`; together they do all of it. Any
    other process gets so many of the first ones as nobody gets less than."""
    number, own = sharers(work, least=least), _state().process_index
    return work[own::number] if own < number else work[:least]


def sharers(work: Any, *, least: int = 0) -> int:
    """How many processes, the first ones, share a list or array: all, or as many as get `least`
    items of it each."""
    most = len(work) // least if least else math.inf
    return max(1, min(_state().num_processes, most))


def all_reduce(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over all processes, to the same bits in each."""
    import torch

    if _state().num_processes == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(device())
    with _together():
        torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def any_process(said: bool) -> bool:
    """Whether any process says so. None goes on before all have spoken."""
    import torch

    count = torch.tensor(float(said))
    all_reduce(count)
    return bool(count)


def barrier() -> None:
    """Wait until all processes are here."""
    any_process(False)


def broadcast(make: Callable[[], T]) -> T:
    """What the main process makes, as JSON gives it back, in every process."""
    import torch

    if _state().num_processes == 1:
        return make()
    text = json.dumps(make()).encode() if is_main() else b""
    size = torch.tensor([len(text)], device=device())
    with _together():
        torch.distributed.broadcast(size, 0)
        sent = torch.zeros(int(size), dtype=torch.uint8, device=device())
        if is_main():
            sent.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        torch.distributed.broadcast(sent, 0)
    return json.loads(sent.cpu().numpy().tobytes())


@cache
def _state() -> PartialState:
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    found = torch.accelerator.current_accelerator(check_available=True)
    launched = "LOCAL_RANK" in os.environ
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (
        launched and (found is None or found.type == "mps")
    )
    with _together():
        return PartialState(cpu=on_cpu, timeout=PATIENCE)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            "another process of this run ended, or did not answer in time",
            thing="processes",
            remedy="read what it said, then run all of them again",
        ) from error
