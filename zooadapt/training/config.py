"""What the user asked for, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from zooadapt.data import ReadOptions
from zooadapt.errors import UsageError
from zooadapt.heads.label_issues import DROP, KEEP, RELABEL
from zooadapt.runtime import ranges
from zooadapt.runtime.ranges import MANY, Range
from zooadapt.training import strategies

RANGES = {
    "budget": Range(0, 1000 * MANY, without=(0,)),
    "epochs": Range(0),
    "lr": Range(0, 1000, without=(0,)),
    "patience": Range(1),
    "batch_size": Range(1),
    "stage_decay": Range(0, 1),
    "label_smoothing": Range(0, 1, without=(1,)),
    "lora_rank": Range(1),
    "ema": Range(0, 1, without=(1,)),
    "soup": Range(0),
    "mixup": Range(0, 1000),
    "cutmix": Range(0, 1000),
    "l2sp": Range(0, 1000),
    "weight_decay": Range(0, 1000),
    "seed": Range(0, 2**32 - 1),
    "val_fraction": Range(0, 1, without=(0, 1)),
    "folds": Range(2),
    "labels_per_class": Range(1),
    "checkpoint_seconds": Range(0, 1000 * MANY),
    "cache_gb": Range(0),
    "views": Range(0),
    "input_size": Range(8, 16384),
    "in_chans": Range(1, 1024),
    "max_length": Range(3, 1 << 20),
}
"""Options that are numbers."""
CHOICES = {
    "head": ("ridge", "logistic"),
    "optimizer": ("adamw", "sgd"),
    "precision": ("auto", "fp32", "bf16"),
    "norm_statistics": ("auto", "frozen", "train"),
    "augment": ("auto", "none", "crop", "flip", "rand"),
    "tune": ("all", "norm", "bias", "lora"),
    "imbalance": ("auto", "none", "weights", "sampler", "logit-adjust"),
    "metric": ("accuracy", "balanced-accuracy"),
    "crop": ("auto", "center", "squash", "border"),
}
"""Options that are one of a few words."""
OF_TRAINING = frozenset({
    "epochs", "lr", "patience", "optimizer", "stage_decay", "weight_decay", "label_smoothing",
    "tune", "lora_rank", "ema", "soup", "mixup", "cutmix", "l2sp", "norm_statistics", "augment",
})  # fmt: skip
"""Options that say how phases are trained."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One `zooadapt adapt` as the user typed it; None leaves the choice to the plan."""

    source: str
    data: str
    out: Path
    strategy: str = strategies.AUTO
    budget: float | None = None
    """Seconds of work after which the best model so far is exported."""
    epochs: int | None = None
    lr: float | None = None
    patience: int | None = None
    batch_size: int | None = None
    optimizer: str = "adamw"
    head: str = "ridge"
    precision: str = "auto"
    norm_statistics: str = "auto"
    augment: str = "auto"
    stage_decay: float | None = None
    label_smoothing: float | None = None
    tune: str = "all"
    lora_rank: int = 8
    ema: float = 0.0
    soup: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    l2sp: float = 0.0
    imbalance: str = "auto"
    metric: str = "accuracy"
    weight_decay: float | None = None
    seed: int = 0
    val_fraction: float = 0.2
    refit: bool = True
    """Teach the chosen model the held-out samples too, once it was measured on them."""
    folds: int | None = None
    """Folds of repeated cross-validation of the solved head, in place of leave-one-out."""
    suspects: Path | None = None
    """A CSV of the labels that are probably wrong."""
    drop_suspects: bool = False
    """Do not learn from them."""
    relabel_suspects: bool = False
    """Learn the likelier label in their place."""
    labels_per_class: int | None = None
    checkpoint_seconds: float = 60.0
    cache_gb: float = 10.0
    views: int = 0
    unlabelled: str | None = None
    """Samples of the target without labels."""
    input_size: int | None = None
    in_chans: int | None = None
    crop: str = "auto"
    """How images of another shape than the network's input are made to fit: one of
    `zooadapt.family.CROPS`; auto compares them where the source's own leaves out much."""
    max_length: int | None = None
    """Symbols or tokens of a text that are read."""
    from_scratch: bool = False
    plan_only: bool = False
    """Decide everything and stop before any long work."""
    overwrite: bool = False
    resume: bool = False
    offline: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    typed: frozenset[str] | None = None
    """Names of the options that the user gave; None: those that differ from their defaults."""
    deterministic_plan: bool = False
    """Plan by counted operations in place of measured seconds."""

    def __post_init__(self) -> None:
        """Raises: UsageError naming the option whose value cannot be meant."""
        ranges.check(self, RANGES, command="adapt")
        ranges.check_words(self, CHOICES)
        phases = strategies.phases(self.strategy, from_scratch=self.from_scratch)
        self._check_suspects(any(isinstance(phase, strategies.FitHead) for phase in phases))
        if self.unlabelled is not None and self.from_scratch:
            raise UsageError(
                "--unlabelled makes a better source, and --from-scratch takes none",
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
        """What was asked for in vain."""
        phases = strategies.phases(self.strategy, from_scratch=self.from_scratch)
        if any(isinstance(phase, strategies.Train) for phase in phases):
            return []
        given = [
            "--" + one.name.replace("_", "-")
            for one in fields(self)
            if one.name in OF_TRAINING and getattr(self, one.name) != one.default
        ]
        why = f"had no effect: --strategy {self.strategy} trains nothing"
        return [f"{', '.join(given)} {why}"] if given else []

    @property
    def treatment(self) -> str:
        """What training makes of labels that are probably wrong."""
        return DROP if self.drop_suspects else RELABEL if self.relabel_suspects else KEEP

    def _check_suspects(self, fits_head: bool) -> None:
        if self.drop_suspects and self.relabel_suspects:
            raise UsageError(
                "--drop-suspects and --relabel-suspects contradict each other",
                thing="--drop-suspects",
                remedy="give one of them",
            )
        if not fits_head and (self.suspects or self.treatment != KEEP):
            option = "--suspects" if self.treatment == KEEP else f"--{self.treatment}-suspects"
            raise UsageError(
                f"{option} asks a head solved on the source's features, and this run solves none",
                thing=option,
                remedy="--strategy lp-ft or probe, without --from-scratch",
            )
        if self.suspects and self.out.absolute() in self.suspects.absolute().parents:
            raise UsageError(
                f"'{self.suspects}' lies in the output folder, which may be published",
                thing="--suspects",
                remedy="name a file outside of it: it holds names of samples",
            )
