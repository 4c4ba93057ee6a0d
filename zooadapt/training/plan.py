"""The plan: everything a run does, decided before it does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zooadapt.runtime.choice import Choice
from zooadapt.training.strategies import FitPhase, Recipe, TrainPhase


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run does, decided before it does it; saved in `report.json`."""

    source: str
    revision: str | None
    sha256: str
    family: str
    data: str
    strategy: str
    phases: tuple[FitPhase | TrainPhase, ...]
    head: str
    """How the head is fitted: `ridge` or `logistic`."""
    recipe: Recipe
    precision: str
    channels_last: bool
    device: str
    seed: int
    depth: int
    """The number of stages."""
    num_classes: int
    """Outputs of the head, whatever the task."""
    train_samples: int
    val: str
    val_fraction: float
    refit: bool
    """Whether what is held out is learned too, once the model was chosen and measured."""
    folds: int
    """Folds that validate a fitted head; 0 for leave-one-out."""
    repeats: int
    """How often these folds are drawn anew."""
    grouped: bool
    """Whether groups of samples are kept whole."""
    suspects: str
    """What is done about labels that are probably wrong: `keep`, `drop` or `relabel`."""
    from_scratch: bool
    choices: tuple[Choice, ...]
    task: str = "classification"

    @property
    def trained(self) -> tuple[TrainPhase, ...]:
        return tuple(phase for phase in self.phases if isinstance(phase, TrainPhase))

    @property
    def fits_head(self) -> bool:
        return any(isinstance(phase, FitPhase) for phase in self.phases)

    @property
    def fitted_val(self) -> str:
        """How a fitted head is validated where nothing is held out."""
        if not self.folds:
            return "leave-one-group-out" if self.grouped else "leave-one-out"
        whole = " by group" if self.grouped else ""
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        return f"{self.folds}-fold{whole}{times}"

    @property
    def freeze_at(self) -> int:
        """The lowest freeze point: the stages before it stay frozen throughout the run."""
        fitted = 0 if self.from_scratch else self.depth
        return min((phase.freeze_at for phase in self.trained), default=fitted)

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self)
        for phase in facts["phases"]:
            if "freeze_at" in phase:
                phase["cut"] = phase.pop("freeze_at")  # the key that reports have always had
        return facts
