"""What a training did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch ended with."""

    phase: int
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(kw_only=True)
class History:
    """The epochs of a run and which of them was kept (0: the state before the first)."""

    epochs: list[Epoch] = field(default_factory=list)
    start: float | None = None
    """Validation loss before the first epoch, where it was measured."""
    best: int = 0
    averaged: list[int] = field(default_factory=list)
    """The epochs that the weights are the mean of: the best, and others if they improved on it."""
    scale: float | None = None
    """Temperature factor that the validation part asks for, folded into the head at the end."""
    steps: int = 0
    trainable: int = 0
    """The most parameters that were trained at once."""
    stopped: str | None = None
    """Why it ended before its last epoch, if it did."""
