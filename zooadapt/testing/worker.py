"""The other process of `zooadapt.testing.clean`, which loads exports."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zooadapt.backbone.pretrained import build
from zooadapt.data.synthesis import synthesise
from zooadapt.runtime import model_files
from zooadapt.testing.case import reopened
from zooadapt.testing.steps import network_logits

_SEED = 1
"""Another than that of the export: state that is random and not saved differs."""
_OPENS = ("open", "socket.connect", "subprocess.Popen", "os.system")
_CODE = (".py", ".pyc", ".so")


def main() -> None:
    """Answer each line of stdin; prints of the family go to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


@torch.no_grad()
def _answer(job: dict[str, Any]) -> dict[str, Any]:
    sys.path[:] = job["path"]
    torch.set_num_threads(job["threads"])
    family = getattr(importlib.import_module(job["module"]), job["name"])()
    model = build(reopened(family, Path(job["folder"])), seed=_SEED)
    raws = synthesise(family.modality, job["n"], view=model.view)
    activations = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    model_files.write_weights(
        Path(job["out"]), {"logits": network_logits(model.backbone.net, activations)}
    )
    return {"touched": _opened(lambda: family.build(model.source.config, len(model.classes)))}


def _opened(call: Callable[[], Any]) -> list[str]:
    """What a call opens besides code. An audit hook cannot be removed, so it records on demand."""
    _recorded.clear()
    _recording.append(True)
    try:
        call()
    finally:
        _recording.clear()
    return list(_recorded)


_recorded: list[str] = []
_recording: list[bool] = []


def _record(event: str, args: tuple[Any, ...]) -> None:
    if _recording and event in _OPENS:
        target = str(args[1] if event == "socket.connect" else args[0])
        if not target.endswith(_CODE):
            _recorded.append(target)


if __name__ == "__main__":
    sys.addaudithook(_record)
    main()
