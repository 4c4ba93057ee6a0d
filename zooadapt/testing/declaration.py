"""Checks of a family's declarations; no network is built."""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
import re
from abc import ABC
from contextlib import suppress
from typing import Any

from zooadapt.data import modalities
from zooadapt.errors import ZooadaptError
from zooadapt.family import (
    API_VERSION,
    FILES,
    PREPROCESSOR_EXTRAS,
    Capabilities,
    Family,
    Preprocessor,
)
from zooadapt.testing import clean
from zooadapt.testing.case import Case
from zooadapt.testing.clauses import clause, refuse, require
from zooadapt.zoo import registry

_OURS = (Family, ABC, object)
_NEARLY = 0.8
_IMPORT_SECONDS = 0.5
_FOREIGN: tuple[dict[str, Any], ...] = ({}, {"_class_name": "UNet2DModel", "sample_size": 8})
_WRONG_VALUES: tuple[Any, ...] = (None, 3, -1.5, True, "?", [], {}, ["?"], {"?": 1})


@clause
def check_it_declares_itself(case: Case) -> None:
    """`api` is the interface version as a number; `name`, `modality` and `library` are texts, `can`
    is a `Capabilities`, `fetches` and `weight_folders` are tuples of names, `imports` is one of
    modules that can be imported, `bundled` maps names to folders."""
    family = case.family
    texts = {"name": family.name, "library": family.library}
    for attribute, value in texts.items():
        require(
            isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value) is not None,
            declared=f"{attribute}: a name in lower case",
            actual=repr(value),
            remedy=f'set `{attribute} = "..."` in the class',
        )
    kinds = {
        "api": (family.api == API_VERSION and type(family.api) is int, f"the number {API_VERSION}"),
        "modality": (family.modality in modalities.names(), f"one of {modalities.names()}"),
        "can": (isinstance(family.can, Capabilities), "Capabilities(...)"),
        "imports": (_names(family.imports), "a tuple of module names"),
        "fetches": (_names(family.fetches), "a tuple of file names"),
        "weight_folders": (_names(family.weight_folders), "a tuple of folder names"),
        "bundled": (_names(tuple(family.bundled.values())), "a mapping of names to folders"),
    }
    for attribute, (holds, expected) in kinds.items():
        require(
            holds,
            declared=f"{attribute}: {expected}",
            actual=repr(getattr(family, attribute)),
            remedy=f"correct `{attribute}` in the class",
        )
    for name in family.imports:
        try:
            importlib.import_module(name)
        except Exception as error:
            refuse(
                declared=f"imports: '{name}' is a module",
                actual=f"{type(error).__name__}: {error}",
                remedy="correct the name, or install its distribution",
            )


@clause
def check_nothing_is_misspelt(case: Case) -> None:
    """No member of the family or its preprocessor has nearly the name of an absent optional member
    of the interface: zooadapt would never call it."""
    parts = (
        (case.family, members(Family)),
        (case.preprocessor, {*members(Preprocessor), *PREPROCESSOR_EXTRAS}),
    )
    for part, known in parts:
        own = {name for kind in type(part).__mro__ for name in vars(kind) if kind not in _OURS}
        for name in sorted(own - known):
            close = difflib.get_close_matches(name, known - own, n=1, cutoff=_NEARLY)
            require(
                name.startswith("_") or not close,
                declared=f"members of {type(part).__name__} have the names of the interface",
                actual=f"the interface has no '{name}'",
                remedy=f"did you mean '{'' if not close else close[0]}'? If not, rename it",
            )


@clause
def check_importing_it_is_light(case: Case) -> None:
    """Importing the plugin and calling `claims` loads neither torch nor a module of `imports`,
    prints nothing and takes little processor time: every command calls every installed plugin."""
    facts = clean.import_alone(case.family, case.config)
    require(
        not facts["heavy"],
        declared="torch and modules of `imports` are imported inside the methods that need them",
        actual=f"{', '.join(facts['heavy'])} loaded",
        remedy="move the import into the methods, or into a module that they import",
    )
    require(
        not facts["printed"],
        declared="importing prints nothing",
        actual=f"printed {facts['printed'][:80]!r}",
        remedy="remove the print",
    )
    require(
        facts["seconds"] <= _IMPORT_SECONDS,
        declared=f"at most {_IMPORT_SECONDS} s of processor time",
        actual=f"{facts['seconds']:.2f} s",
        remedy="python -X importtime shows what takes it; import that inside the methods",
    )


@clause
def check_variants_are_sources(case: Case) -> None:
    """Each of `variants()` names a source once, with its licence in the Hub's spelling or None."""
    sources = set()
    for variant in case.family.variants():
        is_plain = re.fullmatch(r"[\w./@-]+", variant.source) is not None
        require(
            variant.source not in sources and is_plain,
            declared="each source once, as the user types it",
            actual=repr(variant.source),
            remedy="leave it out, or give ORG/NAME or a bundled name",
        )
        sources.add(variant.source)
        name = variant.license
        require(
            name is None or re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name) is not None,
            declared=f"the licence of {variant.source} as the Hub spells it",
            actual=repr(name),
            remedy="give an identifier such as apache-2.0, or None",
        )


@clause
def check_it_claims_its_own_alone(case: Case) -> None:
    """`claims` is True for a config of the family, False for any other config, and changes
    nothing."""
    family, before = case.family, copy.deepcopy(dict(case.config))
    require(
        family.claims(case.config) is True,
        declared="claims(config) is True",
        actual=repr(family.claims(case.config)),
        remedy="compare a key that only this family's configs have with a literal",
    )
    require(
        case.config == before,
        declared="claims changes nothing",
        actual="the config was changed",
        remedy="read the config with .get alone",
    )
    foreign = [*_FOREIGN, *_others(family.name)]
    keys = ("architecture", "model_type", "zooadapt")
    foreign += [{key: value} for key in keys for value in _WRONG_VALUES]
    for config in foreign:
        require(
            family.claims(config) is False,
            declared=f"claims({str(config)[:200]}) is False",
            actual=repr(family.claims(config)),
            remedy="compare a key that only this family's configs have with a literal",
        )


@clause
def check_wrong_configs_are_named(case: Case) -> None:
    """A config with a key that is missing, or of a wrong type or sign, makes a network or raises a
    DataError with the key: a config is a stranger's file."""
    for key in [key for key in case.config if key != FILES]:
        for change, config in _spoiled(case.config, key):
            if case.family.claims(config):
                try:
                    case.family.build(config, 2)
                    case.family.preprocessor(config)
                except ZooadaptError:
                    continue
                except Exception as error:
                    refuse(
                        declared=f"a DataError for a config with '{key}' {change}",
                        actual=f"{type(error).__name__}: {error}",
                        remedy=f"read '{key}' with zooadapt.family.config_keys, or raise "
                        f"DataError(..., thing='{key}')",
                    )


def _spoiled(config: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    without = {name: value for name, value in config.items() if name != key}
    value = config[key]
    changed: list[tuple[str, dict[str, Any]]] = [("missing", without)]
    others: tuple[Any, ...] = (None, {"?": []}, "?", [[]])
    changed += [
        (f"being {wrong!r}", {**without, key: wrong})
        for wrong in others
        if type(wrong) is not type(value)
    ]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        changed.append(("being -1", {**without, key: -1}))
    return changed


def _others(name: str) -> list[dict[str, Any]]:
    """Example configs of every other installed family that can be loaded."""
    configs: list[dict[str, Any]] = []
    for family in registry.families():
        with suppress(ZooadaptError):
            if family.name != name:
                configs += map(dict, family.examples().values())
    return configs


def members(interface: type) -> set[str]:
    """The public members of a class, annotations included."""
    written = vars(interface) | inspect.get_annotations(interface)
    return {name for name in written if not name.startswith("_")}


def _names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)
