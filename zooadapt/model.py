"""A source opened: its family, its network as a chain with the weights in it, its preprocessing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt import hub, registry, weights
from zooadapt.data import MODES
from zooadapt.errors import DataError, PluginError, UsageError
from zooadapt.family import FILES, Family, Preprocessor, further_files
from zooadapt.spec import locate

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.chain import Chain

WIDENED = 4
"""Times that a network in fp32 may be as large as its weights: they may have one byte a number."""
MAX_ADDED_BYTES = 1 << 30
"""Of a network beyond that: a head for new classes, positions of larger images."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model comes from, its family and its config, before any weight is read."""

    origin: hub.Source
    family: Family
    config: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the source head's rows, in order; None where nobody wrote them down."""
        named = weights.names(weights.nested(self.config, "zooadapt"), "classes")
        return named or tuple(self.family.classes(self.config) or ()) or None

    @property
    def white(self) -> int | None:
        """The value that was white in the 16-bit images that an export was adapted to."""
        facts = self.config.get("zooadapt")
        white = facts.get("white") if isinstance(facts, Mapping) else None
        return white if type(white) is int and 0 < white < 1 << 16 else None

    @property
    def name(self) -> str:
        """What to call it in public: the repo id, or a folder's name without the path to it."""
        local = self.origin.revision is None
        return Path(self.origin.location).name if local else self.origin.location

    @property
    def sha256(self) -> str:
        """Of the weights; a model in several files is named by the hash of their hashes."""
        files = {n: h for n, h in self.origin.files.items() if n.endswith(".safetensors")}
        if len(files) == 1:
            return next(iter(files.values()))
        return hashlib.sha256("".join(files[n] for n in sorted(files)).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network with weights, seen as a chain, and what belongs to it."""

    source: Source
    chain: Chain
    preprocessor: Preprocessor
    channels: int
    classes: tuple[str, ...]
    carried: tuple[str, ...] = ()
    """Classes whose head rows are the source's, bit for bit."""
    unused: tuple[str, ...] = ()
    """Source tensors that the network has no place for, its old head apart."""
    notes: tuple[str, ...] = ()
    """What was understood of the source's weights that they do not say."""

    def untrained(self, seed: int) -> dict[str, Tensor]:
        """The state of the same network with random weights, a function of `seed`."""
        import torch

        torch.manual_seed(seed)
        net = self.source.family.build(self.source.config, len(self.classes))
        device = self.chain.head.weight.device
        return {name: tensor.to(device) for name, tensor in net.state_dict().items()}


def open_source(spec: str, *, offline: bool = False) -> Source:
    """Find, fetch and verify `[FAMILY:]LOCATION[@REVISION]` and the family that claims it.

    LOCATION is a folder, a bundled source's name or a Hub repo id. Raises: what `locate`,
    `hub.fetch`, `registry.family_for` and `opened` raise.
    """
    wanted, location, revision = locate(spec, offline=offline)
    config = hub.fetch_config(location, revision=revision, offline=offline)
    family = registry.family_for(config, wanted=wanted)
    origin = hub.fetch(location, revision=revision, names=further_files(family), offline=offline)
    return opened(origin, family, config)


def opened(origin: hub.Source, family: Family, config: Mapping[str, Any]) -> Source:
    """A source whose files are here, with the further ones that its family reads.

    Raises: DataError for one of these that is not UTF-8, and for weights whose header is not valid.
    """
    for name in origin.files:
        if name.endswith(".safetensors"):
            weights.check_header(origin.folder / name)
    config = {key: value for key, value in config.items() if key != FILES}
    if family.fetches:
        config |= {FILES: _texts(origin, family.fetches)}
    return Source(origin=origin, family=family, config=config)


def usual(source: Source) -> Source:
    """The source read where its family usually reads one: by the first of its `poolings`."""
    candidates = source.family.poolings(source.config)
    return replace(source, config=next(iter(candidates.values()), source.config))


def build(
    source: Source,
    *,
    classes: Sequence[str] | None = None,
    from_scratch: bool = False,
    input_size: int | None = None,
    in_chans: int | None = None,
    crop: str | None = None,
    max_length: int | None = None,
    augment: str = "none",
    seed: int = 0,
) -> Model:
    """The source's network with its weights, for `classes` or, by default, the source's own.

    With new classes the head is new: zeros, but for the rows of classes that the source knows by
    name. `from_scratch` leaves the network at its random initialisation, a function of `seed`.
    Every tensor of the backbone must be in the source with its shape, and the other way round.
    Raises: DataError naming the tensors at fault, for a network far larger than its weights, when a
    source without classes is to be used as it is, or for one that takes images of neither one nor
    three channels; UsageError for such `in_chans`.
    """
    import torch

    from zooadapt import head, loading
    from zooadapt.chain import Chain

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
    keep_head = classes is None
    names = tuple(classes) if classes is not None else source.classes
    if names is None:
        raise DataError(
            f"'{source.origin.location}' has no class names, it is a source and not an adapted "
            "model",
            thing=source.origin.location,
            remedy="zooadapt adapt it to your data first",
        )
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
    chain = Chain(family, family.build(config, len(names)))
    carried: list[str] = []
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if not from_scratch:
        loaded = loading.load(
            family,
            chain,
            weights.read_weights(source.origin.folder, folders=family.weight_folders),
            config,
            keep_head=keep_head,
            where=source.origin.location,
        )
        weight, bias = loaded.head
        unused, notes = loaded.unused, loaded.notes
        if not keep_head:
            carried = head.carry_rows(chain.head, names, source.classes, weight, bias)
    chain.eval()
    return Model(
        source=Source(origin=source.origin, family=family, config=config),
        chain=chain,
        preprocessor=preprocessor,
        channels=channels,
        classes=names,
        carried=tuple(carried),
        unused=unused,
        notes=notes,
    )


def _check_size(source: Source, config: Mapping[str, Any], num_classes: int) -> None:
    """See that a network is about as large as the weights for it before memory is taken for it: a
    config of a few bytes can describe one that no machine holds. On the meta device, where tensors
    are shapes alone; a family that cannot build there is not measured."""
    import torch

    files = [name for name in source.origin.files if name.endswith(".safetensors")]
    if not files:
        return
    there = sum((source.origin.folder / name).stat().st_size for name in files)
    try:
        with torch.device("meta"):
            net = source.family.build(config, num_classes)
    except PluginError:
        return
    size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
    if size > WIDENED * there + MAX_ADDED_BYTES:
        raise DataError(
            f"config.json of '{source.origin.location}' describes a network of {size / 1e9:,.1f} "
            f"GB, and its weights have {there / 1e9:,.3f} GB",
            thing="config.json",
            remedy="check that config.json and the weights belong together",
        )


def _texts(origin: hub.Source, names: Sequence[str]) -> dict[str, str]:
    texts = {}
    for name in names:
        if name in origin.files:
            try:
                texts[name] = (origin.folder / name).read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"'{name}' of '{origin.location}' is not UTF-8: {error.reason} at "
                    f"byte {error.start}",
                    thing=name,
                    remedy="choose another source",
                ) from error
    return texts


def _channels(preprocessor: Preprocessor) -> int:
    size = preprocessor.config().get("input_size")
    return int(size[0]) if size else 3
