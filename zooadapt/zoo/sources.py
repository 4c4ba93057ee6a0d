"""A source before its weights are read: its origin, its family and its config."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zooadapt import tasks
from zooadapt.errors import DataError
from zooadapt.family import FILES, Family, config_keys, further_files
from zooadapt.runtime import model_files
from zooadapt.tasks.task import Task
from zooadapt.zoo import hub, registry
from zooadapt.zoo.locations import locate


@dataclass(frozen=True, kw_only=True)
class Source:
    """The origin of a model, its family and its config, before its weights are read."""

    origin: hub.Source
    family: Family
    config: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of the source head's rows, in order; None where the config has none."""
        named = config_keys.names(config_keys.nested(self.config, "zooadapt"), "classes")
        return named or tuple(self.family.classes(self.config) or ()) or None

    @property
    def task(self) -> Task | None:
        """What its head predicts; None where the config names no classes.

        Raises: DataError for a task that this version does not know.
        """
        names = self.classes
        facts = config_keys.nested(self.config, "zooadapt")
        if names is None:
            return None
        return tasks.of_facts(names, facts, native=self._native_task)

    @property
    def _native_task(self) -> str:
        """The task that the family's own library reads in the config."""
        for name in tasks.TASKS:
            keys = self.family.task_config(name)
            if keys and keys.items() <= self.config.items():
                return name
        return tasks.DEFAULT

    @property
    def white(self) -> int | None:
        """The white level of the 16-bit images that an export was adapted to."""
        facts = self.config.get("zooadapt")
        white = facts.get("white") if isinstance(facts, Mapping) else None
        return white if type(white) is int and 0 < white < 1 << 16 else None

    @property
    def cutting(self) -> Mapping[str, Any]:
        """How the recordings that an export was adapted to were cut: `window` and `hop` in seconds,
        and the class `background`; empty for whole ones."""
        cutting = config_keys.nested(config_keys.nested(self.config, "zooadapt"), "cutting")
        seconds = [cutting.get(key) for key in ("window", "hop")]
        is_known = all(isinstance(one, (int, float)) and 0 < one < math.inf for one in seconds)
        return cutting if is_known else {}

    @property
    def name(self) -> str:
        """A name without private paths: the repo id, or the folder's own name."""
        local = self.origin.revision is None
        return Path(self.origin.location).name if local else self.origin.location

    @property
    def sha256(self) -> str:
        """Of the weights; of a model in several files, the hash of their hashes."""
        files = {n: h for n, h in self.origin.files.items() if n.endswith(".safetensors")}
        if len(files) == 1:
            return next(iter(files.values()))
        return hashlib.sha256("".join(files[n] for n in sorted(files)).encode()).hexdigest()


def open_source(spec: str, *, offline: bool = False) -> Source:
    """Fetch and verify `[FAMILY:]LOCATION[@REVISION]`, and find the family that claims it.

    LOCATION is a folder, the name of a bundled model or a Hub repo id. Raises: what `locate`,
    `hub.fetch`, `registry.family_for` and `opened` raise.
    """
    name, location, revision = locate(spec, offline=offline)
    config = hub.fetch_config(location, revision=revision, offline=offline)
    family = registry.family_for(config, name=name)
    origin = hub.fetch(location, revision=revision, names=further_files(family), offline=offline)
    return opened(origin, family, config)


def pull(source: str, out: Path | None, *, overwrite: bool, offline: bool) -> hub.Source:
    """Fetch and verify `[FAMILY:]LOCATION[@REVISION]` with all files that its family reads, into
    the cache and, where given, the folder `out`.

    Raises: what `locate`, `hub.fetch_config` and `hub.pull` raise.
    """
    _, location, revision = locate(source, offline=offline)
    config = hub.fetch_config(location, revision=revision, offline=offline)
    names = extra_files(config)
    return hub.pull(
        location, out, revision=revision, names=names, overwrite=overwrite, offline=offline
    )


def extra_files(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Files that a model's family needs beside the usual ones; none if no family claims it."""
    try:
        return further_files(registry.family_for(config))
    except DataError:
        return ()


def opened(origin: hub.Source, family: Family, config: Mapping[str, Any]) -> Source:
    """A source of fetched files, with the text of the further ones that its family reads.

    Raises: DataError for a text that is not UTF-8 and for weights with an invalid header.
    """
    for name in origin.files:
        if name.endswith(".safetensors"):
            model_files.check_header(origin.folder / name)
    config = {key: value for key, value in config.items() if key != FILES}
    if family.fetches:
        config |= {FILES: _texts(origin, family.fetches)}
    return Source(origin=origin, family=family, config=config)


def usual(source: Source) -> Source:
    """The source with its family's usual pooling, the first of its `poolings`."""
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
