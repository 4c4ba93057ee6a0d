"""Checks of the preprocessor."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from zooadapt.family import FILES, Preprocessor, Sample
from zooadapt.testing.case import Case, same
from zooadapt.testing.clauses import clause, refuse, require

_MAX_CHANGES = 30
"""Keys of a mapping, or entries of a list, that are changed one by one."""
AUGMENTATIONS = ("none", "crop", "flip", "rand")


@clause
def check_preprocessing_is_a_function(case: Case) -> None:
    """A sample is a function of the raw sample and of `rng`, if any, alone: in any thread, with any
    global random state. The raw sample stays as it is."""
    raws = case.raws(8)
    before = [_content(case, raw) for raw in raws]
    for augment in AUGMENTATIONS:
        prepare = case.family.preprocessor(case.config, augment=augment)
        for seeded in (False, True):

            def one(k: int, prepare: Preprocessor = prepare, seeded: bool = seeded) -> Sample:
                return prepare(raws[k], rng=np.random.default_rng(k) if seeded else None)

            _seed_everything(1)
            expected = [one(k) for k in range(len(raws))]
            _seed_everything(2)
            with ThreadPoolExecutor(4) as pool:
                again = list(pool.map(one, range(len(raws))))
            require(
                all(map(same, again, expected)),
                declared=f"augment='{augment}', {'a seeded rng' if seeded else 'rng=None'}: the "
                "same sample each time",
                actual="samples differ",
                remedy="draw from the given rng alone; keep no state between calls",
            )
    if hasattr(case.preprocessor, "many"):
        alone = [case.preprocessor(raw, rng=None) for raw in raws]
        require(
            all(map(same, case.preprocessor.many(raws), alone)),
            declared="many(raws) are the samples of each alone",
            actual="samples differ",
            remedy="preprocess each of them as if it were the only one",
        )
    require(
        [_content(case, raw) for raw in raws] == before,
        declared="raw samples stay as they are",
        actual="a raw sample was changed",
        remedy="work on a copy: the core keeps decoded samples for the next epoch",
    )


@clause
def check_samples_fit_together(case: Case) -> None:
    """Samples of any content, augmented or not, have the same names and types, and the same shapes
    unless the family declares `variable_length`; the network runs on their batch."""
    raws = [*case.raws(), *case.modality.extremes(view=case.model.view)]
    expected = _kind(case.samples(1)[0], case)
    samples = []
    for augment in AUGMENTATIONS:
        prepare = case.family.preprocessor(case.config, augment=augment)
        samples += [prepare(raw, rng=np.random.default_rng(k)) for k, raw in enumerate(raws)]
    for sample in samples:
        require(
            _kind(sample, case) == expected,
            declared=f"samples like {expected}",
            actual=_kind(sample, case),
            remedy="resize, crop or cut to one shape, or declare variable_length",
        )
    with torch.no_grad():
        logits = case.backbone.logits(case.preprocessor.collate(samples[: len(raws)]))
    require(
        logits.shape == (len(raws), len(case.model.classes)) and bool(logits.isfinite().all()),
        declared=f"finite logits for {len(raws)} samples, some of them one pixel or empty",
        actual=f"{tuple(logits.shape)}, finite: {bool(logits.isfinite().all())}",
        remedy="give an empty input one neutral element",
    )


@clause
def check_preprocessing_is_written_down(case: Case) -> None:
    """`config()` is JSON that determines the eval transform: a number in the source's config that
    changes samples changes it too. `native_config` rebuilds the same preprocessor; `min_side` is a
    number of pixels or None."""
    native = case.family.native_config(case.config, case.model.classes)
    described = case.preprocessor.config()
    for what, value in (
        ("preprocessor.config()", described),
        ("native_config", {name: value for name, value in native.items() if name != FILES}),
    ):
        try:
            parsed = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            refuse(
                declared=f"{what} is JSON",
                actual=error,
                remedy="give lists, texts and numbers alone",
            )
        require(
            parsed == value,
            declared=f"{what} is the same once written and read",
            actual=f"{value} becomes {parsed}",
            remedy="give lists for tuples and texts for keys",
        )
    rebuilt = case.family.preprocessor(native)
    raws = case.raws()
    alike = all(same(rebuilt(raw, rng=None), case.preprocessor(raw, rng=None)) for raw in raws)
    require(
        rebuilt.config() == described and alike,
        declared=f"preprocessor(native_config) is the same: {described}",
        actual=f"{rebuilt.config()}, samples {'equal' if alike else 'differ'}",
        remedy="write into native_config every key that the preprocessor reads",
    )
    require(
        bool(described),
        declared="config() determines the eval transform",
        actual=f"it is {described}",
        remedy="give each number and choice that the transform depends on: sizes, scales, limits",
    )
    undescribed = _undescribed(case)
    require(
        not undescribed,
        declared="another config() where samples differ",
        actual=f"with another '{undescribed}' in the source's config samples differ, and config() "
        f"is still {described}",
        remedy="add it to config(): the cache distinguishes stored activations by it",
    )
    side = case.preprocessor.min_side
    require(
        side is None or (isinstance(side, int) and side > 0),
        declared="min_side: pixels or None",
        actual=repr(side),
        remedy="set `min_side = None`",
    )


def _undescribed(case: Case) -> str:
    """A number of the source's config on which samples depend and `config()` does not, or an empty
    text."""
    raws = case.raws(2)
    expected = [case.preprocessor(raw, rng=None) for raw in raws]
    for where, config in _with_changed_numbers(case.config):
        with suppress(Exception):  # no network of the family has this number
            other = case.family.preprocessor(config)
            if other.config() == case.preprocessor.config() and not all(
                map(same, expected, [other(raw, rng=None) for raw in raws])
            ):
                return where
    return ""


def _with_changed_numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """For each of the first numbers of a config: its key, and the config with another number."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, inner in list(items)[:_MAX_CHANGES]:
        where = f"{path}.{key}" if path else str(key)
        if isinstance(inner, (int, float)) and not isinstance(inner, bool):
            changes = [(where, inner * 2 + (inner == 0))]
        elif isinstance(inner, (Mapping, list)) and key != FILES:
            changes = list(_with_changed_numbers(inner, where))
        else:
            continue
        for place, other in changes:
            copied = dict(value) if isinstance(value, Mapping) else list(value)
            copied[key] = other
            yield place, copied


def _kind(sample: Sample, case: Case) -> dict[str, Any]:
    fixed = not case.family.can.variable_length
    return {
        name: f"{tensor.dtype} {tuple(tensor.shape) if fixed else f'{tensor.ndim}-d'}"
        for name, tensor in sample.items()
    }


def _content(case: Case, raw: Any) -> list[bytes]:
    return list(case.modality.pieces(raw))


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
