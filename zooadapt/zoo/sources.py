"""A source before any weight is read: where it is from, its family and its config."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError
from zooadapt.family import FILES, Family, config_keys, further_files
from zooadapt.runtime import model_files
from zooadapt.zoo import hub, registry
from zooadapt.zoo.locations import locate

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model comes from, its family and its config, before any weight is read."""

    origin: hub.Source
    family: Family
    config: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the source head's rows, in order; None where nobody wrote them down."""
        named = config_keys.names(config_keys.nested(self.config, "zooadapt"), "classes")
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


def open_source(spec: str, *, offline: bool = False) -> Source:
    """Find, fetch and verify `[FAMILY:]LOCATION[@REVISION]` and the family that claims it.

    LOCATION is a folder, a bundled source's name or a Hub repo id. Raises: what `locate`,
    `hub.fetch`, `registry.family_for` and `opened` raise.
    """
    wanted, location, revision = locate(spec, offline=offline)
    config = hub.fetch_config(location, revision=revision, offline=offline)
    family = registry.family_for(config, name=wanted)
    origin = hub.fetch(location, revision=revision, names=further_files(family), offline=offline)
    return opened(origin, family, config)


def opened(origin: hub.Source, family: Family, config: Mapping[str, Any]) -> Source:
    """A source whose files are here, with the further ones that its family reads.

    Raises: DataError for one of these that is not UTF-8, and for weights whose header is not valid.
    """
    for name in origin.files:
        if name.endswith(".safetensors"):
            model_files.check_header(origin.folder / name)
    config = {key: value for key, value in config.items() if key != FILES}
    if family.fetches:
        config |= {FILES: _texts(origin, family.fetches)}
    return Source(origin=origin, family=family, config=config)


def usual(source: Source) -> Source:
    """The source read where its family usually reads one: by the first of its `poolings`."""
    candidates = source.family.poolings(source.config)
    return replace(source, config=next(iter(candidates.values()), source.config))


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
