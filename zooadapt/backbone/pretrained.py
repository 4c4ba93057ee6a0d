"""A pretrained model: its staged backbone with weights, its family and its preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zooadapt.data import MODES
from zooadapt.errors import DataError, PluginError, UsageError
from zooadapt.family import Preprocessor
from zooadapt.family.modality import View
from zooadapt.runtime import model_files
from zooadapt.tasks.task import Task
from zooadapt.zoo.sources import Source

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.backbone.staged import StagedBackbone

WIDENED = 4
"""Largest ratio of a network in fp32 to its weights, which may have one byte a number."""
MAX_ADDED_BYTES = 1 << 30
"""Beyond that, for a head for new classes or positions of larger images."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A staged backbone with weights, and what belongs to it."""

    source: Source
    backbone: StagedBackbone
    preprocessor: Preprocessor
    channels: int
    task: Task
    carried: tuple[str, ...] = ()
    """Classes whose head rows are the source's, bit for bit."""
    unused: tuple[str, ...] = ()
    """Source tensors without a place in the network; the old head is not among them."""
    notes: tuple[str, ...] = ()
    """What zooadapt assumed about the source's weights."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the head's outputs."""
        return self.task.outputs

    @property
    def view(self) -> View:
        """What its preprocessor takes of raw samples."""
        return View(
            channels=self.channels,
            min_side=self.preprocessor.min_side,
            rate=self.source.family.sample_rate(self.source.config),
        )

    def native_config(self) -> dict[str, Any]:
        """The `config.json` of an export for the family's own library, the task included."""
        family = self.source.family
        native = family.native_config(self.source.config, self.classes)
        return {**native, **family.task_config(self.task.name)}

    def untrained(self, seed: int) -> dict[str, Tensor]:
        """The state of the same network with random weights, a function of `seed`."""
        import torch

        torch.manual_seed(seed)
        net = self.source.family.build(self.source.config, len(self.classes))
        device = self.backbone.head.weight.device
        return {name: tensor.to(device) for name, tensor in net.state_dict().items()}


def build(
    source: Source,
    *,
    task: Task | None = None,
    from_scratch: bool = False,
    input_size: int | None = None,
    in_chans: int | None = None,
    crop: str | None = None,
    max_length: int | None = None,
    augment: str = "none",
    seed: int = 0,
) -> Model:
    """The source's network with its weights, for `task` or, by default, the source's own.

    With `task` the head is new: zeros, except the rows of outputs that the source knows by name.
    `from_scratch` leaves the network at its random initialisation, a function of `seed`. The
    tensors of the source and of the backbone must match by name and shape.
    Raises: DataError naming the tensors at fault; for a network far larger than its weights; for a
    source without class names where `task` is None; for a network that takes images of neither
    one nor three channels. UsageError for such `in_chans`.
    """
    import torch

    from zooadapt.backbone import head_layer, loading
    from zooadapt.backbone.staged import StagedBackbone

    family, config = source.family, dict(source.config)
    if in_chans is not None and in_chans not in MODES:
        raise UsageError(
            f"images are read in grey or in colour, not with {in_chans} channels",
            thing="--in-chans",
            remedy="give --in-chans 1 or 3",
        )
    if input_size is not None or in_chans is not None:
        config = family.with_input(config, size=input_size, channels=in_chans)
    if crop is not None:
        config = family.with_crop(config, crop=crop)
    if max_length is not None:
        config = family.with_length(config, max_length)
    keep_head = task is None
    task = source.task if task is None else task
    if task is None:
        raise DataError(
            f"'{source.origin.location}' has no class names: it is no adapted model",
            thing=source.origin.location,
            remedy="zooadapt adapt it to your data first",
        )
    names = task.outputs
    preprocessor = family.preprocessor(config, augment=augment)
    channels = in_chans or _channels(preprocessor)
    if channels not in MODES:
        raise DataError(
            f"'{source.origin.location}' takes images of {channels} channels, and images are read "
            "in grey or in colour",
            thing=source.origin.location,
            remedy="give --in-chans 1 or 3, or choose another source",
        )
    _check_size(source, config, len(names))
    torch.manual_seed(seed)
    backbone = StagedBackbone(family, family.build(config, len(names)))
    carried: list[str] = []
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if not from_scratch:
        loaded = loading.load(
            family,
            backbone,
            model_files.read_weights(source.origin.folder, folders=family.weight_folders),
            config,
            keep_head=keep_head,
            where=source.origin.location,
        )
        weight, bias = loaded.head
        unused, notes = loaded.unused, loaded.notes
        if not keep_head and task.carries_rows:
            carried = head_layer.copy_rows(backbone.head, names, source.classes, weight, bias)
    backbone.eval()
    return Model(
        source=Source(origin=source.origin, family=family, config=config),
        backbone=backbone,
        preprocessor=preprocessor,
        channels=channels,
        task=task,
        carried=tuple(carried),
        unused=unused,
        notes=notes,
    )


def _check_size(source: Source, config: Mapping[str, Any], num_classes: int) -> None:
    """Compare the size of a network with that of its weights before it takes memory: a config of a
    few bytes can describe one that no machine holds. Built on the meta device, where tensors are
    shapes alone; networks that cannot be built there pass.

    Raises: DataError for a network far larger than its weights."""
    import torch

    files = [name for name in source.origin.files if name.endswith(".safetensors")]
    if not files:
        return
    stored = sum((source.origin.folder / name).stat().st_size for name in files)
    try:
        with torch.device("meta"):
            net = source.family.build(config, num_classes)
    except PluginError:
        return
    size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
    if size > WIDENED * stored + MAX_ADDED_BYTES:
        raise DataError(
            f"config.json of '{source.origin.location}' describes a network of {size / 1e9:,.1f} "
            f"GB, and its weights have {stored / 1e9:,.3f} GB",
            thing="config.json",
            remedy="check that config.json and the weights belong together",
        )


def _channels(preprocessor: Preprocessor) -> int:
    size = preprocessor.config().get("input_size")
    return int(size[0]) if size else 3
