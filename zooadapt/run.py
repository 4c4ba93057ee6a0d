"""One adaptation at work: the splits' carries, and the phases of a plan run over them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from zooadapt import head
from zooadapt.chain import Chain
from zooadapt.data import Split
from zooadapt.engine import Engine, History
from zooadapt.feed import Feed, Feeds
from zooadapt.head import HeadFit
from zooadapt.metrics import Metrics, measure
from zooadapt.plan import Plan
from zooadapt.progress import Progress

TRAIN, VAL, TEST = "train", "val", "test"


class Run:
    """Carries out a plan on a chain that is already in place; the chain is left as it ends."""

    def __init__(
        self, plan: Plan, engine: Engine, feeds: Feeds, splits: Mapping[str, Split],
        progress: Progress,
    ) -> None:
        self.plan, self.engine, self.feeds = plan, engine, feeds
        self.splits, self.progress = splits, progress
        self._fit: HeadFit | None = None

    def solve(self, chain: Chain) -> None:
        """Solve the head on the training part's features, if the plan does."""
        if not self.plan.solves:
            return
        features = self.engine.features(
            chain, self.feeds.plain(TRAIN), batch_size=self.plan.recipe.batch_size,
            progress=self.progress, what="features",
        )
        labels = torch.from_numpy(self.splits[TRAIN].labels)
        self._fit = head.solve(features, labels, self.plan.num_classes)
        head.install(chain.head, self._fit)

    def train(self, chain: Chain) -> History:
        """Train through the plan's phases; the best epoch on the validation part is kept, the
        solved head's before the first epoch included."""
        if not self.plan.trained:
            return History()

        def feed_at(cut: int, held_out: bool) -> Feed:
            return self.feeds.plain(VAL) if held_out else self.feeds.training(TRAIN)

        return self.engine.fit(
            chain, self.plan.trained, self.plan.recipe, feed_at=feed_at,
            labels=torch.from_numpy(self.splits[TRAIN].labels),
            val_labels=torch.from_numpy(self.splits[VAL].labels), seed=self.plan.seed,
            keep_start=self.plan.solves, progress=self.progress,
        )

    def validation(self, chain: Chain) -> Metrics:
        """Accuracy on what was not trained on: the held-out part, or, where only a head was solved
        and nothing had to be held out, each sample by the head solved without it."""
        if self._fit is None or self.plan.trained:
            return self.score(chain, VAL)
        return self._measure(self._fit.held_out_logits, TRAIN)

    def score(self, chain: Chain, name: str) -> Metrics:
        """Metrics of the chain on a split."""
        logits = self.engine.logits(
            chain, self.feeds.plain(name), batch_size=self.plan.recipe.batch_size,
            progress=self.progress, what=f"evaluating {name}",
        )
        return self._measure(logits, name)

    def _measure(self, logits: torch.Tensor, name: str) -> Metrics:
        predicted = logits.argmax(1).numpy().astype(np.int64)
        return measure(predicted, self.splits[name].labels, self.plan.num_classes)
