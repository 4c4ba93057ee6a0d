"""What is settled by the time that training begins, as a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from zooadapt.errors import DataError
from zooadapt.runtime.choice import Choice
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import FitPhase, Recipe, TrainPhase


def to_json(plan: Plan, decisions: Sequence[Choice], *, left: bool) -> dict[str, Any]:
    """The plan as it is trained by and the decisions that made it so. left: whether the source was
    left for its network with random weights."""
    chosen = [asdict(choice) for choice in decisions]
    return {"plan": plan.to_json(), "decisions": chosen, "left": left}


def from_json(settled: Mapping[str, Any]) -> tuple[Plan, list[Choice], bool]:
    """The inverse of `to_json`. Raises: DataError as `plan_of` does."""
    decisions = [Choice(**choice) for choice in settled["decisions"]]
    return plan_of(settled["plan"]), decisions, settled["left"]


def plan_of(saved: Mapping[str, Any]) -> Plan:
    """The plan of an interrupted run.

    Raises: DataError for one that this version does not know.
    """
    try:
        own = {
            "phases": tuple(_phase(**phase) for phase in saved["phases"]),
            "recipe": Recipe(**saved["recipe"]),
            "choices": tuple(Choice(**choice) for choice in saved["choices"]),
        }
        return Plan(**{**saved, **own})
    except (KeyError, TypeError) as error:
        raise DataError(
            "the plan of the interrupted run is another version's",
            thing="versions",
            remedy="resume with that version, or run it without --resume",
        ) from error


def _phase(kind: str, cut: int = 0, **more: Any) -> FitPhase | TrainPhase:
    """Raises: KeyError and TypeError for one that this version does not know."""
    if kind == "train":
        return TrainPhase(freeze_at=cut, **more)
    return {"solve": FitPhase}[kind](**more)
