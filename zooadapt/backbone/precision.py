"""Precision and memory layout: what the machine can do, and of that what is fastest on it."""

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
"""Largest relative error of bf16 features, `|x - x32| / |x32|`, that counts as the same."""
PRECISIONS = ("fp32", "bf16")
_WORTH = 1.25
"""Gain below which the plain mode is kept: less is noise, and plain surprises nobody."""
_ROUNDS = 3
_LOST = 2.0
"""Times as slow as the fastest, from which a mode is not run again."""
_CHEAP = 0.5
"""Seconds within which a mode may be slow without being out: a first run is, for other reasons."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the network is run, and why."""

    precision: str
    channels_last: bool
    device: str
    why: str


def machine(device: torch.device) -> dict[str, Any]:
    """What measurements on this machine depend on, for the keys under which they are remembered: a
    cache folder may be shared by machines of several kinds."""
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
    """Whether the device computes in bf16 by itself. Other CPUs emulate it, many times as slowly as
    fp32, and have no LSTM in it at all."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def choose(
    backbone: StagedBackbone,
    activations: Activations,
    *,
    wanted: str,
    device: torch.device,
    trains: bool = False,
) -> Mode:
    """The fastest of fp32 and bf16 autocast, plain and channels-last, on a small batch of real
    inputs. bf16 is a candidate only where the device has it, and taken only where its features stay
    within `TOLERANCE` of fp32's and, if the network `trains`, a training step works in it and takes
    no longer. `wanted` may fix the precision; the layout is measured all the same, for inputs that
    are images.
    `torch.compile` is not among them: a training step got 1.2 to 1.5 times as fast by it, after 64
    to 80 seconds of compilation on two cores, which a usual run's 300 steps do not bring back.

    Measured once for a network and kind of input on a machine, then remembered: a run that is
    repeated is the same run.

    Raises: UsageError where bf16 is wanted and cannot work here.
    """
    facts = {
        **machine(device),
        "network": prefix_sha256(backbone, backbone.depth),
        "inputs": {name: [str(t.dtype), *t.shape[2:]] for name, t in activations.items()},
        "wanted": wanted,
    }
    trial = _Trial(backbone, activations, device)
    mode = Mode(**remember("modes", facts, lambda: asdict(trial.choose(wanted))))
    if not trains or mode.precision != "bf16":
        return mode
    facts |= {"trains": True}
    return Mode(**remember("modes", facts, lambda: asdict(trial.train(mode, wanted))))


def of_export(config: Mapping[str, Any], device: torch.device) -> Mode | None:
    """The mode that an export was made and measured with, if it says so and the device can."""
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
        why="the model was made with it",
    )


@dataclass
class _Trial:
    """Modes tried out on one batch. The network is left as it was."""

    backbone: StagedBackbone
    activations: Activations
    device: torch.device
    folded: dict[tuple[str, bool], FoldedNorms] = field(default_factory=dict)

    def choose(self, wanted: str) -> Mode:
        """The fastest of the modes that the device can run the network in."""
        native = has_bf16(self.device)
        precisions = [wanted] if wanted != "auto" else ["fp32", "bf16"] if native else ["fp32"]
        image = any(t.ndim == 4 for t in self.activations.values())
        modes = [
            (p, layout) for layout in ((False, True) if image else (False,)) for p in precisions
        ]
        lacks = "" if native or wanted != "auto" else f"this {self.device.type} has no bf16"
        if modes == [("fp32", False)]:
            return self._mode(modes[0], lacks or "asked for")
        before = [(p, p.data) for p in self.backbone.net.parameters()]
        try:
            return self._measure(modes, lacks)
        except Exception as error:
            if wanted != "bf16":
                raise
            self._run(("fp32", False))  # raises what is no fault of the precision
            raise _unable(self.device, error) from error
        finally:
            for parameter, data in before:  # strides of 1x1 kernels do not survive the way back
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
                    spent, given = self._run(mode, limit)
                except Exception as error:
                    if mode == plain:
                        raise
                    running.remove(mode)
                    notes.append(f"{_name(mode)} does not work here: {_first_line(error)}")
                    continue
                seconds[mode] = min(spent, seconds.get(mode, spent))
                if given is None:
                    running.remove(mode)
                else:
                    features[mode] = given
        size = features[plain].norm().clamp_min(1e-12)
        errors = {
            m: float((given - features[plain]).norm() / size) for m, given in features.items()
        }
        fixed = len({precision for precision, _ in modes}) == 1
        allowed = [m for m in features if fixed or m[0] == "fp32" or errors[m] <= TOLERANCE]
        best = min(allowed, key=seconds.__getitem__)
        if seconds[plain] < _WORTH * seconds[best]:
            best = plain
        if refused := [errors[m] for m in features if m not in allowed]:
            notes.append(
                f"bf16 moves the features by {max(refused):.1%}, {TOLERANCE:.0%} are allowed"
            )
        times = ", ".join(
            f"{_name(m)} {'' if m in features else 'over '}{1000 * spent:.0f} ms"
            for m, spent in seconds.items()
        )
        return self._mode(best, "; ".join([f"measured on one batch: {times}", *notes]))

    def train(self, mode: Mode, wanted: str) -> Mode:
        """This bf16 mode, or the same in fp32 where a step of training does not work in it or takes
        longer; that it takes longer is no reason where it was asked for."""
        before = [(p, p.data) for p in self.backbone.net.parameters()]
        try:
            seconds = self._step("bf16", mode.channels_last)
            if wanted == "bf16":
                return mode
            plain = self._step("fp32", mode.channels_last)
            if min(seconds, self._step("bf16", mode.channels_last)) <= plain:
                return mode
            why = (
                f"a training step takes {1000 * seconds:.0f} ms in bf16, {1000 * plain:.0f} in fp32"
            )
        except Exception as error:
            if wanted == "bf16":
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
        """Seconds in a mode, and its features in fp32, or none if it took longer than the limit and
        was stopped; norms are folded when it is first seen."""
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
        """Seconds forward and backward through the whole network, of which nothing moves."""
        activations, backbone = self._placed(channels_last), self.backbone
        backbone.freeze(0, norm_statistics="frozen")
        backbone.train()
        started = time.perf_counter()
        try:
            with torch.enable_grad():
                with self._autocast(precision):
                    logits = backbone.logits(activations)
                loss = logits.float().logsumexp(1).mean()
                loss.backward()
            float(loss.detach())
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return time.perf_counter() - started
        finally:
            backbone.net.zero_grad(set_to_none=True)
            backbone.eval()

    def _placed(self, channels_last: bool) -> Activations:
        """The batch in this layout and on the device, as the network then is."""
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
    """What the library said in the end, not who it is laid to."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{error}".partition(". ")[0].partition("\n")[0][:200] or type(error).__name__
