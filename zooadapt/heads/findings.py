"""What a run finds out about its data and its model, beside the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zooadapt.heads.learning_curve import Curve
from zooadapt.heads.text_baseline import BaselineResult
from zooadapt.tasks.figures import Figures
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.metrics import Comparison


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings of one run; a field is None or empty where the run could not measure it."""

    baselines: Mapping[str, Figures]
    comparisons: Sequence[Comparison]
    """The exported model with each baseline, on the samples the baselines were measured on. Where
    the exported head is fitted on these samples too, the head fitted without them stands for it."""
    label_issues: LabelIssues | None
    action: str
    """What was done about label issues: keep, drop or relabel."""
    changed: int
    """Training samples that were dropped or relabelled."""
    curve: Curve | None
    temperature: float | None
    """The divisor of the head's logits, fitted on held-out predictions."""
    conclusion: str | None = None
    """Whether training paid in a run of strategy `auto`, and which strategy to use next time."""
    text_baselines: Sequence[BaselineResult] = ()
    """The exported model with baselines that have no network."""

    def to_json(self) -> dict[str, Any]:
        """Keys of `report.json`: counts and scores, no sample's name."""
        issues, curve = self.label_issues, self.curve
        on_test = [one for one in self.text_baselines if "test" in one.metrics]
        on_val = [one for one in self.text_baselines if "val" in one.metrics]
        comparisons = [*self.comparisons, *(one.comparisons["val"] for one in on_val)]
        return {
            "baselines": {name: metrics.summary() for name, metrics in self.baselines.items()}
            | {
                one.baseline.name: one.metrics["val"].summary() | {"how": one.how} for one in on_val
            },
            "comparisons": [comparison.to_json() for comparison in comparisons],
            "test_baselines": {one.baseline.name: one.metrics["test"].summary() for one in on_test},
            "test_comparisons": [one.comparisons["test"].to_json() for one in on_test],
            "suspects": None
            if issues is None
            else {
                "count": len(issues),
                "of": issues.of,
                "treatment": self.action,
                "changed": self.changed,
                "reliable": issues.reliable,
            },
            "conclusion": self.conclusion,
            "learning_curve": None
            if curve is None
            else asdict(curve) | {"sentence": curve.sentence},
        }
