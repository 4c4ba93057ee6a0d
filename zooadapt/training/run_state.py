"""How far a run has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from zooadapt.heads.answers import Answers
from zooadapt.runtime.choice import Choice
from zooadapt.tasks.figures import Figures
from zooadapt.training.history import History
from zooadapt.training.plan import Plan
from zooadapt.training.strategies import TrainPhase


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run has come. Every step of a `Run` takes one and gives the next."""

    plan: Plan
    """What was done in the end: decisions on the way may make less of what was planned."""
    decisions: tuple[Choice, ...] = ()
    """What was decided on the way, each with the fact it rests on."""
    left_source: bool = False
    """Whether the network has random weights in place of the source's."""
    temperature: float | None = None
    """What the head's logits are divided by."""
    baselines: Mapping[str, Figures] = field(default_factory=dict)
    predicted: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Answers by baseline, and of the model, where the baselines were measured; and of the model on
    other parts."""
    history: History = field(default_factory=History)
    fine_tuned: TrainPhase | None = None
    """The phase of the best epoch, with the epochs that it took."""
    val: Figures | None = None
    refitted: bool = False
    test: Figures | None = None
    answers: Answers | None = None
    """The answers that the scores of the test part, or else those of `val`, are made of."""
