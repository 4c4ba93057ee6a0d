"""An interrupted run's state on disk: tensors and JSON, written as a whole after an epoch."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zooadapt import fsops, outputs, weights
from zooadapt.errors import DataError, NotFoundError


class Checkpoint:
    """The last state of a run, as `OUT.checkpoint` beside its output or, where that is filled in
    place, inside of it; gone once the run is done."""

    def __init__(self, out: Path, *, facts: Mapping[str, Any], every: float) -> None:
        """facts: what a resumed run must share (plan, network, data, versions); every: seconds
        between two saves, so that saving a large network costs little of a run. The first one is
        due at once."""
        self.folder = outputs.companion(out, "checkpoint")
        self._facts, self._every = json.loads(json.dumps(facts)), every
        self._saved = -math.inf

    def due(self) -> bool:
        """Whether enough time has passed since the last save."""
        return time.monotonic() - self._saved >= self._every

    def save(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the saved state by this one, as a whole or not at all."""
        with outputs.new_folder(self.folder, overwrite=True) as folder:
            weights.write_weights(folder / "model.safetensors", tensors)
            fsops.write_json(folder / "config.json", {"facts": self._facts, "progress": progress})
        self._saved = time.monotonic()

    def load(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """The saved tensors and progress.

        Raises: NotFoundError when there is nothing to resume; DataError naming the first fact in
        which the interrupted run differs.
        """
        fsops.recover(self.folder)
        if not self.folder.exists():
            raise NotFoundError(
                f"there is nothing to resume: '{self.folder.name}' is not there",
                thing=str(self.folder),
                remedy="run it without --resume",
            )
        saved = weights.read_config(self.folder / "config.json")
        for name, value in self._facts.items():
            if saved["facts"].get(name) != value:
                raise DataError(
                    f"the interrupted run had another {name}",
                    thing=name,
                    remedy="use the same options, data and versions, or run it without --resume",
                )
        return weights.read_weights(self.folder), saved["progress"]

    def remove(self) -> None:
        """Forget the run; it is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
