"""A task learns of held-out predictions before anything is measured with it, and is exported so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zooadapt.runtime.progress import Progress
from zooadapt.tasks.classification import Classification
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt


@dataclass(frozen=True, kw_only=True)
class Stubborn(Classification):
    """Answers with the last class, once it has been settled."""

    samples: int = 0

    def facts(self) -> dict[str, Any]:
        return {"samples": self.samples}

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        if not self.samples:
            return super().answers(outputs)
        return np.full(len(outputs), outputs.shape[1] - 1)

    def measure(
        self,
        answers: np.ndarray,
        labels: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        distinct: int | None = None,
    ) -> Any:
        return super().measure(answers, labels, distinct=distinct)


@pytest.mark.parametrize(("strategy", "epochs"), [("probe", None), ("lp-ft", 1)])
def test_a_settled_task_measures_and_is_exported(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    epochs: int | None,
) -> None:
    def settled(task: Classification, outputs: np.ndarray, labels: np.ndarray) -> Stubborn:
        assert len(outputs) == len(labels)
        return Stubborn(outputs=task.outputs, samples=len(labels))

    monkeypatch.setattr(Classification, "settled", settled)
    place = tmp_path / "out"
    request = Request(
        source="digits04", data=str(pictures), out=place, strategy=strategy, epochs=epochs
    )
    report = adapt(request, Progress()).report
    config = json.loads((place / "config.json").read_text())
    task = config["zooadapt"]["task"]
    assert task["name"] == "classification"
    assert task["samples"] == report["val"]["n"]
    assert report["val"]["accuracy"] == report["test"]["accuracy"] == pytest.approx(1 / 3, abs=0.01)
