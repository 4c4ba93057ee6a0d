"""What a run found out about its data and its model, beside the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zooadapt.heads.label_issues import LabelIssues
from zooadapt.heads.learning_curve import Curve
from zooadapt.heads.metrics import Comparison, Metrics
from zooadapt.heads.text_baseline import Match


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings of one run; what it could not find out is None or empty."""

    baselines: Mapping[str, Metrics]
    comparisons: Sequence[Comparison]
    """The exported model beside each baseline, on the samples those were measured on. Where what is
    exported is solved on these samples too, the one solved without them stands for it."""
    suspects: LabelIssues | None
    treatment: str
    changed: int
    """Training samples that were left out or relabelled as suspects."""
    curve: Curve | None
    temperature: float | None
    """What the head's logits were divided by, on predictions for samples it was not fitted to."""
    conclusion: str | None = None
    """What a run that chose by itself says of training, and what to do next time."""
    matches: Sequence[Match] = ()
    """The exported model beside models without a network."""

    def to_json(self) -> dict[str, Any]:
        """Keys of `report.json`: counts and scores, no sample's name."""
        suspects, curve = self.suspects, self.curve
        tested = [match for match in self.matches if "test" in match.metrics]
        judged = [match for match in self.matches if "val" in match.metrics]
        return {
            "baselines": {name: metrics.summary() for name, metrics in self.baselines.items()}
            | {m.rival.name: m.metrics["val"].summary() | {"how": m.how} for m in judged},
            "comparisons": [
                asdict(one) for one in (*self.comparisons, *(m.comparisons["val"] for m in judged))
            ],
            "test_baselines": {m.rival.name: m.metrics["test"].summary() for m in tested},
            "test_comparisons": [asdict(m.comparisons["test"]) for m in tested],
            "suspects": None
            if suspects is None
            else {
                "count": len(suspects),
                "of": suspects.of,
                "treatment": self.treatment,
                "changed": self.changed,
                "reliable": suspects.reliable,
            },
            "conclusion": self.conclusion,
            "learning_curve": None
            if curve is None
            else asdict(curve) | {"sentence": curve.sentence},
        }
