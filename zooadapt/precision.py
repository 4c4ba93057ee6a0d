"""Precision and memory layout, chosen by a short measurement on the machine at hand."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch

from zooadapt.cache import remember
from zooadapt.chain import Chain, prefix_sha256
from zooadapt.family import Carry
from zooadapt.folding import FoldedNorms, fold

TOLERANCE = 0.02
"""Largest relative error of bf16 features, `|x - x32| / |x32|`, that counts as the same."""
_WORTH = 1.25
"""Gain below which the plain mode is kept: less is noise, and plain surprises nobody."""
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the network is run, and why."""

    precision: str
    channels_last: bool
    device: str
    why: str


def choose(chain: Chain, carry: Carry, *, wanted: str, device: torch.device) -> Mode:
    """The fastest of fp32 and bf16 autocast, plain and channels-last, on a small batch of real
    inputs. bf16 is taken only where its features stay within `TOLERANCE` of fp32's. `wanted` may
    fix the precision; the layout is measured all the same, for inputs that are images.
    `torch.compile` is not among them: a training step got 1.2 to 1.5 times as fast by it, after 64
    to 80 seconds of compilation on two cores, which a usual run's 300 steps do not bring back.

    Measured once for a network and kind of input on a machine, then remembered: a run that is
    repeated is the same run.
    """
    facts = {
        "network": prefix_sha256(chain, chain.depth),
        "inputs": {name: [str(t.dtype), *t.shape[2:]] for name, t in carry.items()},
        "wanted": wanted,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return Mode(**remember("modes", facts, lambda: asdict(_measure(chain, carry, wanted, device))))


@torch.no_grad()
def _measure(chain: Chain, carry: Carry, wanted: str, device: torch.device) -> Mode:
    chain.eval()
    image = any(t.ndim == 4 for t in carry.values())
    precisions = [wanted] if wanted != "auto" else ["fp32", "bf16"]
    layouts = [False, True] if image else [False]
    carry = {name: t.to(device) for name, t in carry.items()}
    before = [(p, p.data) for p in chain.net.parameters()]
    chain.net.to(device)
    modes = [(precision, layout) for layout in layouts for precision in precisions]
    seconds, features, folded = {}, {}, {}
    for _ in range(_ROUNDS):
        for mode in modes:
            spent, features[mode] = _run(chain, carry, mode, folded, device)
            seconds[mode] = min(spent, seconds.get(mode, spent))
    for parameter, data in before:  # strides of 1x1 kernels do not survive the way there and back
        parameter.data = data
    plain = modes[0]
    size = features[plain].norm().clamp_min(1e-12)
    errors = {mode: float((features[mode] - features[plain]).norm() / size) for mode in modes}
    allowed = [m for m in modes if len(precisions) == 1 or m[0] == "fp32" or errors[m] <= TOLERANCE]
    best = min(allowed, key=seconds.__getitem__)
    if seconds[plain] < _WORTH * seconds[best]:
        best = plain
    told = ", ".join(
        f"{p}{' channels-last' if c else ''} {1000 * seconds[p, c]:.0f} ms" for p, c in modes
    )
    if refused := [errors[mode] for mode in modes if mode not in allowed]:
        told += f"; bf16 moves the features by {max(refused):.1%}, {TOLERANCE:.0%} are allowed"
    return Mode(
        precision=best[0],
        channels_last=best[1],
        device=device.type,
        why=f"measured on one batch: {told}",
    )


def _run(
    chain: Chain,
    carry: Carry,
    mode: tuple[str, bool],
    folded: dict[tuple[str, bool], FoldedNorms],
    device: torch.device,
) -> tuple[float, torch.Tensor]:
    """Seconds in a mode, and its features in fp32; norms are folded when it is first seen."""
    precision, channels_last = mode
    layout = torch.channels_last if channels_last else torch.contiguous_format
    chain.net.to(memory_format=layout)
    carry = {
        name: t.contiguous(memory_format=layout) if t.ndim == 4 else t for name, t in carry.items()
    }
    if mode not in folded:
        folded[mode] = fold(chain, carry)
    started = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"), folded[mode]:
        features = chain.run(carry)["features"].float().cpu()
    return time.perf_counter() - started, features
