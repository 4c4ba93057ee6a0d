"""Precision and memory layout: the fastest mode that the machine supports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from zooadapt.backbone.norm_folding import FoldedNorms, fold
from zooadapt.backbone.staged import StagedBackbone, prefix_sha256
from zooadapt.errors import UsageError
from zooadapt.family import Activations
from zooadapt.runtime.measurements import remember

TOLERANCE = 0.02
"""Largest relative error of bf16 features, `|x - x32| / |x32|`, that is tolerated."""
PRECISIONS = ("fp32", "bf16")
_WORTH = 1.25
"""Smallest speed-up for which another mode replaces plain fp32; less is noise."""
_ROUNDS = 3
_LOST = 2.0
"""A mode that takes this many times as long as the fastest is dropped."""
_CHEAP = 0.5
"""Seconds within which no mode is dropped: first runs are slow for other reasons."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the network runs, and why."""

    precision: str
    channels_last: bool
    device: str
    why: str


def machine(device: torch.device) -> dict[str, Any]:
    """What measurements on this machine depend on: machines of several kinds may share a cache."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": dict(getattr(torch.cpu, "get_capabilities", dict)()),
        "bf16": has_bf16(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes bf16 natively. Other CPUs emulate it, many times as slowly as
    fp32, and have no bf16 LSTM."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's own
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def choose(
    backbone: StagedBackbone,
    activations: Activations,
    *,
    precision: str,
    device: torch.device,
    trains: bool = False,
) -> Mode:
    """The fastest of fp32 and bf16 autocast, plain and channels-last, on a small batch of real
    inputs. bf16 is a candidate if the device has it and its features stay within `TOLERANCE` of
    fp32's; if the network `trains`, a training step must also work in it and take no longer.
    `precision` may fix the precision; the layout of images is measured all the same.
    `torch.compile` is no candidate: it made a training step 1.2 to 1.5 times as fast after 64 to 80
    seconds of compilation on two cores, more than the 300 steps of a usual run save.

    The choice is measured once for a network and kind of input on a machine, then remembered, so
    that a repeated run is the same run.

    Raises: UsageError where `precision` is bf16 and the device cannot run the network in it.
    """
    facts = {
        **machine(device),
        "network": prefix_sha256(backbone, backbone.depth),
        "inputs": {name: [str(t.dtype), *t.shape[2:]] for name, t in activations.items()},
        "wanted": precision,
    }
    trial = _Trial(backbone, activations, device)
    mode = Mode(**remember("modes", facts, lambda: asdict(trial.choose(precision))))
    if not trains or mode.precision != "bf16":
        return mode
    facts |= {"trains": True}
    return Mode(**remember("modes", facts, lambda: asdict(trial.train(mode, precision))))


def of_export(config: Mapping[str, Any], device: torch.device) -> Mode | None:
    """The mode that an export was measured with, if it names one that the device supports."""
    facts = config.get("zooadapt")
    mode = facts.get("inference") if isinstance(facts, Mapping) else None
    if not isinstance(mode, Mapping) or mode.get("precision") not in PRECISIONS:
        return None
    if mode["precision"] == "bf16" and not has_bf16(device):
        return None
    return Mode(
        precision=mode["precision"],
        channels_last=mode.get("channels_last") is True,
        device=device.type,
        why="the model was measured with it",
    )


@dataclass
class _Trial:
    """Runs of the network on one batch in several modes, after which it is as it was."""

    backbone: StagedBackbone
    activations: Activations
    device: torch.device
    folded: dict[tuple[str, bool], FoldedNorms] = field(default_factory=dict)

    def choose(self, precision: str) -> Mode:
        """The fastest of the modes in which the device can run the network."""
        native = has_bf16(self.device)
        candidates = ["fp32", "bf16"] if native else ["fp32"]
        precisions = candidates if precision == "auto" else [precision]
        image = any(t.ndim == 4 for t in self.activations.values())
        modes = [
            (p, layout) for layout in ((False, True) if image else (False,)) for p in precisions
        ]
        lacks = "" if native or precision != "auto" else f"this {self.device.type} has no bf16"
        if modes == [("fp32", False)]:
            return self._mode(modes[0], lacks or "asked for")
        before = [(p, p.data) for p in self.backbone.net.parameters()]
        try:
            return self._measure(modes, lacks)
        except Exception as error:
            if precision != "bf16":
                raise
            self._run(("fp32", False))  # raises if the precision is not to blame
            raise _unable(self.device, error) from error
        finally:
            for parameter, data in before:  # a change back would lose strides of 1x1 kernels
                parameter.data = data

    def _measure(self, modes: list[tuple[str, bool]], lacks: str) -> Mode:
        plain, running = modes[0], list(modes)
        seconds: dict[tuple[str, bool], float] = {}
        features: dict[tuple[str, bool], torch.Tensor] = {}
        notes = [lacks] if lacks else []
        for _ in range(_ROUNDS):
            for mode in list(running):
                limit = max(_CHEAP, _LOST * min(seconds.values())) if seconds else float("inf")
                try:
                    spent, output = self._run(mode, limit)
                except Exception as error:
                    if mode == plain:
                        raise
                    running.remove(mode)
                    notes.append(f"{_name(mode)} does not work here: {_first_line(error)}")
                    continue
                seconds[mode] = min(spent, seconds.get(mode, spent))
                if output is None:
                    running.remove(mode)
                else:
                    features[mode] = output
        size = features[plain].norm().clamp_min(1e-12)
        errors = {
            m: float((output - features[plain]).norm() / size) for m, output in features.items()
        }
        fixed = len({precision for precision, _ in modes}) == 1
        allowed = [m for m in features if fixed or m[0] == "fp32" or errors[m] <= TOLERANCE]
        best = min(allowed, key=seconds.__getitem__)
        if seconds[plain] < _WORTH * seconds[best]:
            best = plain
        if refused := [errors[m] for m in features if m not in allowed]:
            notes.append(
                f"bf16 changes the features by {max(refused):.1%}, {TOLERANCE:.0%} are allowed"
            )
        times = ", ".join(
            f"{_name(m)} {'' if m in features else 'over '}{1000 * spent:.0f} ms"
            for m, spent in seconds.items()
        )
        return self._mode(best, "; ".join([f"measured on one batch: {times}", *notes]))

    def train(self, mode: Mode, precision: str) -> Mode:
        """This bf16 mode, or the same in fp32 if a training step fails in bf16 or, unless the user
        asked for bf16, takes longer."""
        before = [(p, p.data) for p in self.backbone.net.parameters()]
        try:
            seconds = self._step("bf16", mode.channels_last)
            if precision == "bf16":
                return mode
            plain = self._step("fp32", mode.channels_last)
            if min(seconds, self._step("bf16", mode.channels_last)) <= plain:
                return mode
            why = (
                f"a training step takes {1000 * seconds:.0f} ms in bf16, {1000 * plain:.0f} in fp32"
            )
        except Exception as error:
            if precision == "bf16":
                self._step("fp32", mode.channels_last)
                raise _unable(self.device, error) from error
            why = f"no training step works in bf16 here: {_first_line(error)}"
        finally:
            for parameter, data in before:
                parameter.data = data
        return replace(mode, precision="fp32", why=f"{mode.why}; {why}")

    @torch.no_grad()
    def _run(
        self, mode: tuple[str, bool], limit: float = float("inf")
    ) -> tuple[float, torch.Tensor | None]:
        """Seconds in a mode and its features in fp32, None after the time limit. The first run of a
        mode folds the norms."""
        activations = self._placed(mode[1])
        self.backbone.eval()
        if mode not in self.folded:
            self.folded[mode] = fold(self.backbone, activations)
        started = time.perf_counter()
        with self._autocast(mode[0]), self.folded[mode]:
            for stage in range(self.backbone.depth):
                activations = self.backbone.run(activations, start=stage, stop=stage + 1)
                if time.perf_counter() - started > limit:
                    return time.perf_counter() - started, None
            features = activations["features"].float().cpu()
        return time.perf_counter() - started, features

    def _step(self, precision: str, channels_last: bool) -> float:
        """Seconds forward and backward through the whole network, which stays as it is."""
        activations, backbone = self._placed(channels_last), self.backbone
        backbone.freeze(0, norm_statistics="frozen")
        backbone.train()
        started = time.perf_counter()
        try:
            with torch.enable_grad():
                with self._autocast(precision):
                    logits = backbone.logits(activations)
                loss = logits.float().logsumexp(1).mean()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            float(loss.detach())
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return time.perf_counter() - started
        finally:
            backbone.net.zero_grad(set_to_none=True)
            backbone.eval()

    def _placed(self, channels_last: bool) -> Activations:
        """The batch on the device in this layout; the network is moved there too."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.net.to(self.device)
        self.backbone.net.to(memory_format=layout)
        activations = {name: t.to(self.device) for name, t in self.activations.items()}
        return {
            name: t.contiguous(memory_format=layout) if t.ndim == 4 else t
            for name, t in activations.items()
        }

    def _autocast(self, precision: str) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")

    def _mode(self, mode: tuple[str, bool], why: str) -> Mode:
        return Mode(precision=mode[0], channels_last=mode[1], device=self.device.type, why=why)


def _unable(device: torch.device, error: Exception) -> UsageError:
    return UsageError(
        f"this {device.type} cannot run the network in bf16: {_first_line(error)}",
        thing="--precision",
        remedy="--precision fp32",
    )


def _name(mode: tuple[str, bool]) -> str:
    return f"{mode[0]}{' channels-last' if mode[1] else ''}"


def _first_line(error: BaseException) -> str:
    """The first line of the library's own error, under those raised from it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{error}".partition(". ")[0].partition("\n")[0][:200] or type(error).__name__
