"""A run that was interrupted, wherever that was, goes on as the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zooadapt import preparation
from zooadapt.adapt import adapt
from zooadapt.precision import Mode
from zooadapt.progress import Progress
from zooadapt.request import Request

WEIGHTS = "model.safetensors"


class Stops(Progress):
    """Interrupts when a line begins with these words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def say(self, line: str) -> None:
        if line.startswith(self.words):
            raise KeyboardInterrupt


def run(data: Path, out: Path, progress: Progress | None = None, **options: Any) -> dict[str, Any]:
    request = Request(
        source="digits04",
        data=str(data),
        out=out,
        **{"precision": "fp32", "batch_size": 8, "checkpoint_seconds": 0.0} | options,
    )
    return adapt(request, progress or Progress()).report


def force_layout(monkeypatch: pytest.MonkeyPatch, *, channels_last: bool) -> None:
    mode = Mode(precision="fp32", channels_last=channels_last, device="cpu", why="the test's")
    monkeypatch.setattr(preparation, "choose", lambda *_, **__: mode)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_ends_in_the_same_bytes_in_either_layout(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels_last: bool,
    optimizer: str,
) -> None:
    force_layout(monkeypatch, channels_last=channels_last)
    options = {"strategy": "full", "epochs": 4, "optimizer": optimizer, "ema": 0.5}
    whole = run(pictures, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "cut", Stops("epoch 3"), **options)
    resumed = run(pictures, tmp_path / "cut", resume=True, **options)
    assert resumed["plan"]["channels_last"] is channels_last
    assert resumed["epochs"] == whole["epochs"]
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
