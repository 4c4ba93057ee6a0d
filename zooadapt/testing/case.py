"""The input of a check: a family, one of its configs, and what was computed with them."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.backbone.pretrained import Model, build
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.data import modalities
from zooadapt.data.synthesis import synthesise
from zooadapt.family import FILES, Activations, Family, Preprocessor, Sample, Stage, further_files
from zooadapt.family.modality import Modality
from zooadapt.tasks import of_classes
from zooadapt.testing.outcomes import Faults
from zooadapt.testing.steps import Training, parameters_with_gradient, train
from zooadapt.workflows import export
from zooadapt.workflows.report import Written
from zooadapt.zoo import hub
from zooadapt.zoo.sources import Source, opened

CLASSES = ("first", "second", "third")
N = 4


class Case:
    """A family and one config of it; checks share what was computed.

    With a `source` the network has its weights. Otherwise the weights are random, always the same,
    and without constants: a layer initialised as the identity would hide mistakes.
    """

    def __init__(
        self,
        family: Family,
        config: Mapping[str, Any],
        *,
        name: str = "",
        source: Source | None = None,
    ) -> None:
        self.family, self.config, self.source = family, config, source
        self.name = name or "config"
        self.faults = Faults()
        self._build_error: Exception | None = None

    def __repr__(self) -> str:
        return f"Case({self.family.name}, {self.name})"

    @cached_property
    def model(self) -> Model:
        """Raises: the error of the first build. An error in a stage has a note with its name."""
        if self._build_error is not None:
            raise self._build_error
        try:
            if self.source:
                model = build(self.source, task=of_classes(self.source.classes or CLASSES))
                return _naming_stages(model)
            origin = hub.Source(
                location=self.name, folder=Path(), revision=None, files={}, license=None
            )
            source = Source(origin=origin, family=self.family, config=self.config)
            model = build(source, task=of_classes(CLASSES), from_scratch=True)
        except Exception as error:
            self._build_error = error
            raise
        _randomise_constants(model.backbone.net)
        return _naming_stages(model)

    @property
    def backbone(self) -> StagedBackbone:
        """In eval mode; to change it, use `workbench`."""
        return self.model.backbone

    @property
    def chain(self) -> StagedBackbone:
        """`backbone`, as plugins written before version 0.2 call it."""
        return self.backbone

    @property
    def preprocessor(self) -> Preprocessor:
        return self.model.preprocessor

    @property
    def modality(self) -> Modality:
        return modalities.named(self.family.modality)

    def raws(self, n: int = N, *, seed: int = 0) -> list[Any]:
        return synthesise(self.family.modality, n, seed, view=self.model.view)

    def samples(self, n: int = N, *, seed: int = 0) -> list[Sample]:
        return [self.preprocessor(raw, rng=None) for raw in self.raws(n, seed=seed)]

    def activations(self, k: int = 0) -> Activations:
        """A copy of the activations of `N` samples at freeze point `k`, in eval mode."""
        return {name: tensor.clone() for name, tensor in self._store[k].items()}

    def carry(self, k: int = 0) -> Activations:
        """`activations`, as plugins written before version 0.2 call them."""
        return self.activations(k)

    @cached_property
    def logits(self) -> Tensor:
        """`(N, K)` of the staged backbone in eval mode."""
        with torch.no_grad():
            return self.backbone.logits(self.activations())

    @cached_property
    def trainings(self) -> list[Training]:
        """Two steps of training from every freeze point, each from the same weights."""
        with self.workbench() as backbone:
            trainable = parameters_with_gradient(backbone.net, self.activations())
        trainings = []
        for freeze_at in range(self.backbone.depth + 1):
            with self.workbench() as backbone:
                trainings.append(train(backbone, freeze_at, self.activations(), trainable))
        return trainings

    @cached_property
    def exported(self) -> Source:
        """The network written to disk as an export and opened again as a source."""
        config = dict(self.family.native_config(self.config, self.model.classes))
        files = config.pop(FILES, {})
        config["zooadapt"] = {"classes": list(self.model.classes)}
        out = self._folder / "export"
        written = Written(config=config, files=files, report={}, card="")
        export.save(self.model, out, written, overwrite=False)
        return reopened(self.family, out)

    @contextmanager
    def workbench(self) -> Iterator[StagedBackbone]:
        """The backbone, to change: weights, buffers, modes and freeze point are restored after."""
        net = self.backbone.net
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        try:
            yield self.backbone
        finally:
            net.load_state_dict(before)
            net.zero_grad(set_to_none=True)
            self.backbone.freeze(0)
            self.backbone.eval()

    @cached_property
    def _store(self) -> list[Activations]:
        store = [self.preprocessor.collate(self.samples())]
        with torch.no_grad():
            for k in range(self.backbone.depth):
                store.append(self.backbone.run(_copy(store[k]), start=k, stop=k + 1))
        return store

    @cached_property
    def _folder(self) -> Path:
        folder = mkdtemp(prefix="zooadapt-check-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def reopened(family: Family, folder: Path) -> Source:
    """An export as a source, as the core opens it; the family need not be installed."""
    config = hub.fetch_config(str(folder))
    origin = hub.fetch(str(folder), names=further_files(family))
    return opened(origin, family, config)


def _naming_stages(model: Model) -> Model:
    def named(stage: Stage) -> Stage:
        note = f"stage '{stage.name}'"

        def run(activations: Activations) -> Activations:
            try:
                return stage.run(activations)
            except Exception as error:
                if note not in getattr(error, "__notes__", ()):
                    error.add_note(note)
                raise

        return replace(stage, run=run)

    model.backbone.stages = tuple(map(named, model.backbone.stages))
    return model


def close(actual: Tensor, expected: Tensor) -> bool:
    """Equal up to rounding: within 1e-4 of the largest expected value."""
    if actual.shape != expected.shape:
        return False
    tolerance = 1e-4 * max(1.0, float(expected.abs().max()))
    return bool(torch.allclose(actual, expected, rtol=0, atol=tolerance))


def difference(actual: Tensor, expected: Tensor) -> str:
    """The difference of two tensors, in words."""
    if actual.shape != expected.shape:
        return f"shape {tuple(actual.shape)} against {tuple(expected.shape)}"
    return f"a difference of up to {float((actual - expected).abs().max()):.2g}"


def same(first: Activations, second: Activations) -> bool:
    """Equal names, types, shapes and bits."""
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name])
        for name in first
    )


def _copy(activations: Activations) -> Activations:
    return {name: tensor.clone() for name, tensor in activations.items()}


@torch.no_grad()
def _randomise_constants(net: nn.Module) -> None:
    """Give random values to constant parameters (biases, scales, zero-initialised layers) and to
    running statistics."""
    random = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        if (parameter == parameter.flatten()[0]).all():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            mean, variance = module.get_buffer("running_mean"), module.get_buffer("running_var")
            mean.add_(0.1 * torch.randn(mean.shape, generator=random))
            variance.mul_(0.5 + torch.rand(variance.shape, generator=random))
