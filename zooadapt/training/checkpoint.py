"""An interrupted run's state on disk: tensors and JSON, written as a whole between two steps."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zooadapt.errors import DataError, ResourceError
from zooadapt.runtime import filesystem, model_files, outputs
from zooadapt.training.resume import folder_of

_SHARE = 0.1
"""Of the time, spent on saving at most."""


class Checkpoint:
    """The last state of a run, as `OUT.checkpoint` beside its output or, where that is filled in
    place, inside of it; gone once the run is done."""

    def __init__(
        self,
        out: Path,
        *,
        facts: Mapping[str, Any],
        every: float,
        run: Mapping[str, Any] | None = None,
        source: Mapping[str, Tensor] | None = None,
    ) -> None:
        """facts: what a resumed run must share (network, data, versions). every: seconds of work
        that may be lost. run: what `resume.load` returns. source: the network's state as the run
        began, where the pretrained model's was changed before."""
        self.folder = folder_of(out)
        self._facts, self._every = json.loads(json.dumps(facts)), every
        self._run, self._source = dict(run or {}), source or {}
        self._settled: Mapping[str, Any] = {}
        self._saved, self._took = -math.inf, 0.0

    def settle(self, choices: Mapping[str, Any]) -> None:
        """Save these choices with every state; `settled` returns them."""
        self._settled = choices

    def settled(self) -> dict[str, Any]:
        """What the interrupted run had settled, as JSON."""
        return dict(model_files.read_config(self.folder / "config.json")["settled"])

    def due(self, *, within_epoch: bool = False) -> bool:
        """Whether to save now: after an epoch as soon as that takes little of the time, within one
        once there is as much to lose as may be lost."""
        little = self._took / _SHARE
        passed = time.monotonic() - self._saved
        if within_epoch:
            return math.isfinite(passed) and passed >= max(self._every, little)
        return passed >= min(self._every, little)

    def begin(self) -> None:
        """Count the time from now on; what was before is not lost."""
        self._saved = max(self._saved, time.monotonic())

    def save(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the saved state by this one, as a whole or not at all."""
        started = time.monotonic()
        source = {f"source.{name}": tensor for name, tensor in self._source.items()}
        with outputs.new_folder(self.folder, overwrite=True) as folder:
            model_files.write_weights(folder / "model.safetensors", {**tensors, **source})
            config = {"facts": self._facts, "run": self._run, "settled": self._settled}
            filesystem.write_json(folder / "config.json", config | {"progress": progress})
        self._saved = time.monotonic()
        self._took = self._saved - started

    def load(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """The saved tensors by the first part of their names, and the progress.

        Raises: DataError naming the first fact in which the interrupted run differs.
        """
        saved = model_files.read_config(self.folder / "config.json")
        for name, value in self._facts.items():
            if saved["facts"].get(name) != value:
                raise DataError(
                    f"the interrupted run had another {name}",
                    thing=name,
                    remedy="use the same source, data and versions, or run it without --resume",
                )
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in model_files.read_weights(self.folder).items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        return parts, saved["progress"]

    def remove(self) -> None:
        """Forget the run; it is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def source_of(out: Path) -> dict[str, Tensor]:
    """The network's state as an interrupted run began, where it was not the pretrained model's."""
    begin = "source."
    tensors = model_files.read_weights(folder_of(out))
    return {name[len(begin) :]: t for name, t in tensors.items() if name.startswith(begin)}


def otherwise_stored(freeze_at: int) -> ResourceError:
    """Samples in the cache are not augmented anew in each epoch, others are."""
    return ResourceError(
        f"the activations before stage {freeze_at} were in the cache when the run was interrupted "
        "and are not now, or the other way round",
        thing="--cache-gb",
        remedy="give it the room that it had, or run it without --resume",
    )
