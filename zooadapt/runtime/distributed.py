"""Several processes of one run, as `accelerate launch` starts them.

Every process takes the same steps on its shard of the samples, and sums are reduced over all of
them. The main process alone prints and writes; it also decides what depends on a clock or a
measurement. In a run of one process these functions return their input.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sized
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
S = TypeVar("S", bound=Sized)
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others."""


def is_main() -> bool:
    """Whether this process prints and writes. Needs no torch."""
    return "LOCAL_RANK" not in os.environ or rank() == 0


def rank() -> int:
    """The number of this process, from 0. Needs no torch."""
    return int(os.environ.get("RANK", "0"))


def on_host() -> int:
    """The number of processes on this machine. Needs no torch."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def device() -> torch.device:
    """The device that `accelerate` assigns to this process."""
    assigned: torch.device = _state().device
    return assigned


def shard(items: S, *, least: int = 0) -> S:
    """This process's items of a list or array: every n-th of them, n being their `sharers`, which
    cover all items together. A further process gets the first `least` items."""
    number, own = sharers(items, least=least), _state().process_index
    sliceable: Any = items
    part: S = sliceable[own::number] if own < number else sliceable[:least]
    return part


def sharers(items: Sized, *, least: int = 0) -> int:
    """How many processes, from the first, share a list or array: all, or as many as get at least
    `least` items each."""
    processes: int = _state().num_processes
    return max(1, min(processes, len(items) // least if least else processes))


def all_reduce(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over all processes, bit-equal in each."""
    import torch

    if _state().num_processes == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(device())
    with _collective():
        torch.distributed.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def any_process(condition: bool) -> bool:
    """Whether the condition holds in any process. Returns once all processes have called it."""
    import torch

    count = torch.tensor(float(condition))
    all_reduce(count)
    return bool(count)


def barrier() -> None:
    """Wait until all processes have called it."""
    any_process(False)


def broadcast(make: Callable[[], T]) -> T:
    """The main process's value, decoded from JSON, in every process."""
    import torch

    if _state().num_processes == 1:
        return make()
    text = json.dumps(make()).encode() if is_main() else b""
    size = torch.tensor([len(text)], device=device())
    with _collective():
        torch.distributed.broadcast(size, 0)
        buffer = torch.zeros(int(size), dtype=torch.uint8, device=device())
        if is_main():
            buffer.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        torch.distributed.broadcast(buffer, 0)
    value: T = json.loads(buffer.cpu().numpy().tobytes())
    return value


@cache
def _state() -> PartialState:
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    launched = "LOCAL_RANK" in os.environ
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (
        launched and (accelerator is None or accelerator.type == "mps")
    )
    with _collective():
        return PartialState(cpu=on_cpu, timeout=PATIENCE)


@contextmanager
def _collective() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            "another process of this run ended, or did not answer in time",
            thing="processes",
            remedy="read its message, then run all processes again",
        ) from error
