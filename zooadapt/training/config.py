"""The request of one `adapt`, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zooadapt.data.options import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.runtime import options
from zooadapt.runtime.options import Group, options_of
from zooadapt.tasks.label_issues import DROP, KEEP, RELABEL
from zooadapt.training import strategies
from zooadapt.training.options import AdaptOptions

_OF_TRAINING = (Group.FINE_TUNING, Group.REGULARISATION)
"""Groups of options that apply to training phases alone."""


@dataclass(frozen=True, kw_only=True)
class Request(AdaptOptions):
    """One `zooadapt adapt` as the user typed it."""

    source: str
    data: str
    out: Path
    plan_only: bool = False
    """Make the plan and stop before any long work."""
    reading: ReadOptions = ReadOptions()
    typed: frozenset[str] | None = None
    """Names of the options that the user typed; None: those that differ from their defaults."""

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        options.check(self)
        phases = strategies.phases(self.strategy, from_scratch=self.from_scratch)
        self._check_suspects(any(isinstance(phase, strategies.FitHead) for phase in phases))
        if self.unlabelled is not None and self.from_scratch:
            raise UsageError(
                "--unlabelled adapts the pretrained weights, and --from-scratch discards them",
                thing="--unlabelled",
                remedy="give one of them",
            )
        if self.overwrite and self.resume:
            raise UsageError(
                "--resume and --overwrite contradict each other",
                thing="--resume",
                remedy="give one of them",
            )

    @property
    def notes(self) -> list[str]:
        """Options that had no effect."""
        phases = strategies.phases(self.strategy, from_scratch=self.from_scratch)
        if any(isinstance(phase, strategies.Train) for phase in phases):
            return []
        flags = [
            one.flag
            for name, one in options_of(AdaptOptions).items()
            if one.group in _OF_TRAINING and getattr(self, name) != one.default
        ]
        why = f"had no effect: --strategy {self.strategy} trains nothing"
        return [f"{', '.join(flags)} {why}"] if flags else []

    @property
    def label_issue_action(self) -> str:
        """What training does with samples whose labels are probably wrong."""
        return DROP if self.drop_suspects else RELABEL if self.relabel_suspects else KEEP

    def _check_suspects(self, fits_head: bool) -> None:
        if self.drop_suspects and self.relabel_suspects:
            raise UsageError(
                "--drop-suspects and --relabel-suspects contradict each other",
                thing="--drop-suspects",
                remedy="give one of them",
            )
        if not fits_head and (self.suspects or self.label_issue_action != KEEP):
            action = self.label_issue_action
            option = "--suspects" if action == KEEP else f"--{action}-suspects"
            raise UsageError(
                f"{option} needs a head fitted to frozen features, and this run fits none",
                thing=option,
                remedy="--strategy lp-ft or probe, without --from-scratch",
            )
        if self.suspects and self.out.absolute() in self.suspects.absolute().parents:
            raise UsageError(
                f"'{self.suspects}' lies in the output folder, which may be published",
                thing="--suspects",
                remedy="name a file outside of it: the list names samples",
            )
