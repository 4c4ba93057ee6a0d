"""What the training loop lowers: the samples of an epoch, their loss, how epochs compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Loader, shuffled
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError, PluginError
from zooadapt.family import Activations
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.task import Task
from zooadapt.tasks.validation import Validation
from zooadapt.training.mixup import mix
from zooadapt.training.optimizer import cosine
from zooadapt.training.strategies import Recipe

LoaderAt = Callable[[int, bool], Loader]
"""The loader of training (False) or validation (True) activations at a freeze point."""
Key = tuple[int, ...]
"""Seed, phase and epoch, of which everything drawn for an epoch is a function."""


class Objective(ABC):
    """What a network is to learn."""

    title = ""
    """Stands before "loss" and "epoch" where a person reads them."""
    figure = "accuracy"
    """The name of a validation's own figure."""
    remedy = "--lr {lower_rate:.1g}"
    """Against a loss that is not finite."""
    schedule = staticmethod(cosine)
    """Share of the peak rate, by step, steps of the phase and their share of warm-up."""

    def __init__(self, backbone: StagedBackbone, engine: Engine, recipe: Recipe) -> None:
        self.backbone, self.engine, self.recipe = backbone, engine, recipe
        self.net: nn.Module = backbone.net
        """All that is trained: its state is compared, kept and saved."""

    def parameter_groups(self, *, lowest: int) -> list[dict[str, Any]]:
        """As `StagedBackbone.parameter_groups`; the head's are those of the last stage."""
        recipe = self.recipe
        decay = 0.0 if recipe.l2sp else recipe.weight_decay
        return self.backbone.parameter_groups(
            stage_decay=recipe.stage_decay, weight_decay=decay, lowest=lowest
        )

    def order(self, loader: Loader, key: Key) -> list[np.ndarray]:
        """The epoch's batches of sample indices."""
        return shuffled(len(loader), self.recipe.batch_size, key=key, lengths=loader.lengths())

    @abstractmethod
    def loader(self, freeze_at: int, key: Key) -> Loader:
        """The samples of an epoch, from this freeze point or one before it."""

    @abstractmethod
    def loss(
        self, activations: Activations, indices: np.ndarray, *, start: int, seed: int
    ) -> tuple[Tensor, float]:
        """The mean loss of a batch from freeze point `start`, differentiable, and the weight of
        these samples in a mean with others."""

    @abstractmethod
    def validate(self, freeze_at: int) -> Validation:
        """What the validation part says of the network as it is."""


class Supervised(Objective):
    """The loss of a task of the head's logits against labels."""

    def __init__(
        self,
        backbone: StagedBackbone,
        engine: Engine,
        recipe: Recipe,
        *,
        task: Task,
        loader_at: LoaderAt,
        labels: Tensor,
        val_labels: Tensor,
        evening: Tensor,
    ) -> None:
        """labels and val_labels: in the order of the loaders' samples. evening: `(K,)` float64,
        what evens the outputs out."""
        super().__init__(backbone, engine, recipe)
        self._task, self._loader_at, self._evening = task, loader_at, evening
        self._labels, self._val_labels = labels, val_labels
        self.figure = task.shown[0].title

    def order(self, loader: Loader, key: Key) -> list[np.ndarray]:
        """With the sampler, as many batches drawn with replacement, classes equally often."""
        order = super().order(loader, key)
        if self.recipe.imbalance != "sampler":
            return order
        weights = self._task.sample_weights(self._labels, self._evening).numpy()
        rng = np.random.default_rng((*key, 0xE7E))
        drawn = rng.choice(len(weights), size=len(weights), p=weights / weights.sum())
        return np.split(drawn, np.cumsum([len(batch) for batch in order])[:-1])

    def loader(self, freeze_at: int, key: Key) -> Loader:
        return self._loader_at(freeze_at, False)

    def loss(
        self, activations: Activations, indices: np.ndarray, *, start: int, seed: int
    ) -> tuple[Tensor, float]:
        recipe, labels = self.recipe, self._labels[indices]
        (mixup, cutmix), order, share = (recipe.mixup, recipe.cutmix), None, 1.0
        if mixup or cutmix:
            activations, order, share = mix(
                activations,
                (seed,),
                mixup=mixup,
                cutmix=cutmix,
                channels=self.backbone.channels(start),
            )
        try:
            with self.engine.autocast():
                logits = self.backbone.logits(self.engine.to_device(activations), start=start)
        except (ValueError, PluginError) as error:
            if len(labels) > 1 or "more than 1 value" not in str(error):
                raise
            raise DataError(
                "a norm layer has nothing to normalise over in a step of a single sample",
                thing="--norm-statistics",
                remedy="--norm-statistics frozen, or more samples and a larger --batch-size",
            ) from error
        loss = self._loss(logits.float(), labels)
        if order is not None:
            loss = share * loss + (1 - share) * self._loss(logits.float(), labels[order])
        if recipe.imbalance == "weights":
            return loss, float(self._task.sample_weights(labels, self._evening).sum())
        return loss, len(labels)

    def validate(self, freeze_at: int) -> Validation:
        logits = self.engine.logits(
            self.backbone,
            self._loader_at(freeze_at, True),
            batch_size=self.recipe.batch_size,
            progress=Progress(),
        )
        return self._task.validate(logits, self._val_labels, self._evening, self.recipe.metric)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._task.loss(
            logits,
            labels,
            evening=self._evening,
            imbalance=self.recipe.imbalance,
            label_smoothing=self.recipe.label_smoothing,
        )
