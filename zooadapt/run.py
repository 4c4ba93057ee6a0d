"""One adaptation at work: the phases of a plan carried out over the splits of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from zooadapt import head
from zooadapt.carries import Carries
from zooadapt.chain import Chain
from zooadapt.checkpoint import Checkpoint
from zooadapt.data import Split
from zooadapt.engine import Engine
from zooadapt.feed import Feed
from zooadapt.head import HeadFit
from zooadapt.metrics import Metrics, measure
from zooadapt.plan import Plan
from zooadapt.progress import Progress
from zooadapt.training import History, Training

TRAIN, VAL, TEST = "train", "val", "test"


class Run:
    """Carries out a plan on a chain that is already in place; the chain is left as it ends."""

    def __init__(
        self,
        plan: Plan,
        chain: Chain,
        engine: Engine,
        carries: Carries,
        splits: Mapping[str, Split],
        progress: Progress,
    ) -> None:
        self._plan, self._chain, self._engine, self._carries = plan, chain, engine, carries
        self._splits, self._progress = splits, progress
        self._fit: HeadFit | None = None

    def prepare(self) -> None:
        """Run what stays frozen, once: the carries of every split at every cut of the plan."""
        cuts = {phase.cut for phase in self._plan.trained}
        ends = {self._chain.depth} if self._plan.solves else set()
        for name in self._splits:
            wanted = {TRAIN: cuts | ends, VAL: cuts, TEST: {self._plan.cut}}[name]
            self._carries.prepare(name, sorted(wanted))

    def solve(self) -> None:
        """Solve the head on the training part's features, if the plan does."""
        if not self._plan.solves:
            return
        feed = self._carries.at(TRAIN, self._chain.depth)
        rows = self._engine.feature_rows(
            self._chain, feed, batch_size=self._plan.recipe.batch_size, progress=self._progress
        )
        labels = torch.from_numpy(self._splits[TRAIN].labels)
        self._fit = head.solve(
            rows, labels, self._plan.num_classes, kind=self._plan.head, seed=self._plan.seed
        )
        head.install(self._chain.head, self._fit)

    def train(self, checkpoint: Checkpoint, *, resume: bool) -> History:
        """Train through the plan's phases; the best epoch on the validation part is kept, the
        solved head's before the first epoch included."""
        if not self._plan.trained:
            return History()

        def feed_at(cut: int, held_out: bool) -> Feed:
            return self._carries.at(VAL, cut) if held_out else self._carries.training(TRAIN, cut)

        training = Training(
            self._chain,
            self._engine,
            self._plan.trained,
            self._plan.recipe,
            feed_at=feed_at,
            labels=torch.from_numpy(self._splits[TRAIN].labels),
            val_labels=torch.from_numpy(self._splits[VAL].labels),
            seed=self._plan.seed,
            progress=self._progress,
        )
        return training.run(keep_start=self._plan.solves, checkpoint=checkpoint, resume=resume)

    def validation(self) -> Metrics:
        """Accuracy on what was not trained on: the held-out part, or, where only a head was solved
        and nothing had to be held out, each sample by the head solved without it."""
        if self._fit is None or self._plan.trained:
            return self.score(VAL)
        return self._measure(self._fit.held_out_logits, TRAIN)

    def score(self, name: str) -> Metrics:
        """Metrics of the chain on a split."""
        logits = self._engine.logits(
            self._chain,
            self._carries.at(name, self._plan.cut),
            batch_size=self._plan.recipe.batch_size,
            progress=self._progress,
            what=f"evaluating {name}",
        )
        return self._measure(logits, name)

    def _measure(self, logits: torch.Tensor, name: str) -> Metrics:
        labels = self._splits[name].labels
        return measure(logits.argmax(1).numpy(), labels, self._plan.num_classes)
