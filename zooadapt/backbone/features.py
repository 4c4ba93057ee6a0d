"""Features of the frozen backbone, on which heads are fitted."""

from __future__ import annotations

from zooadapt.backbone.activations import ActivationStore
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.rows import Rows
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.runtime.progress import Progress


class Features:
    """The features of each split, computed once even without a cache."""

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        store: ActivationStore,
        *,
        batch_size: int,
        progress: Progress,
    ) -> None:
        self._backbone, self._engine, self._store = backbone, engine, store
        self._batch_size, self._progress = batch_size, progress
        self._rows: dict[str, Rows] = {}

    def __call__(self, name: str) -> Rows:
        """The `(n, D)` features of the split of that name, in chunks."""
        if name not in self._rows:
            self._rows[name] = self._engine.feature_rows(
                self._backbone,
                self._store.at(name, self._backbone.depth),
                batch_size=self._batch_size,
                progress=self._progress,
            )
        return self._rows[name]

    def forget(self) -> None:
        """Compute all features anew from now on: the network changed."""
        self._rows.clear()
