"""Images without labels: norm statistics re-estimated on them, and when these are kept."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt


def run(data: Path, out: Path, progress: Progress | None = None, **options: Any) -> dict[str, Any]:
    options_used = {"strategy": "probe", "precision": "fp32", "batch_size": 8} | options
    request = Request(source="digits04", data=str(data), out=out, **options_used)
    return adapt(request, progress or Progress()).report


def more(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_norm_statistics_of_noise_are_not_kept(pictures: Path, tmp_path: Path) -> None:
    place = more(tmp_path / "more", 30)
    for number in range(5):  # that these are known, and labelled, is told by their content
        shutil.copy(pictures / "class0" / f"{number}.png", place / f"known{number}.png")
    report = run(pictures, tmp_path / "out", unlabelled=str(place))
    (choice,) = [one for one in report["plan"]["choices"] if one["what"] == "unlabelled"]
    assert choice["value"].startswith("norm statistics of 3")
    assert choice["value"].endswith(" images, not kept")
    assert "batch norms measured anew" in choice["why"]
    assert report["data"]["samples"]["unlabelled"] == 34  # one is in the test part
    run(pictures, tmp_path / "plain")
    ours, plain = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("out", "plain"))
    assert ours == plain


def test_a_resumed_run_need_not_take_the_same_time(pictures: Path, tmp_path: Path) -> None:
    """Looking at the new images takes some seconds of the first run's budget."""
    options = {"unlabelled": str(more(tmp_path / "more", 20)), "strategy": "lp-ft", "epochs": 3}

    class Interrupted(Progress):
        def say(self, line: str) -> None:
            if line.startswith("norm statistics"):
                time.sleep(4)
            if line.startswith("epoch 2"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", Interrupted(), **options)
    resumed = run(pictures, tmp_path / "out", resume=True, **options)
    whole = run(pictures, tmp_path / "whole", **options)
    assert resumed["epochs"] == whole["epochs"]
    ours, theirs = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("out", "whole"))
    assert ours == theirs
