"""Which samples a source has learned, as far as its own report says: no figure is taken from them.

A report holds the first eight bytes of the hash of each, which is enough to know a sample again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from zooadapt.data import Dataset, Split, sample_per_class
from zooadapt.errors import ZooadaptError
from zooadapt.family import config_keys
from zooadapt.runtime.wording import counted
from zooadapt.zoo.sources import Source

REPORT = "report.json"
_BYTES = 8
_MAX_REPORT = 200_000_000


def encode(digests: Iterable[bytes]) -> str:
    """Hashes of samples as one text, in no order that says anything of them."""
    return base64.b64encode(b"".join(sorted({one[:_BYTES] for one in digests}))).decode()


def of_source(source: Source) -> frozenset[bytes]:
    """What the report beside a source says that it has learned; nothing where there is none."""
    path = source.origin.folder / REPORT
    with suppress(OSError, ValueError, KeyError, TypeError):
        if path.stat().st_size <= _MAX_REPORT:
            text = base64.b64decode(json.loads(path.read_bytes())["data"]["learned"], validate=True)
            return frozenset(text[k : k + _BYTES] for k in range(0, len(text), _BYTES))
    return frozenset()


def marked(
    source: Source, data: Dataset, *, labels_per_class: int | None = None, seed: int = 0
) -> Dataset:
    """The data with the training samples marked that the source has learned, and a test part
    without such samples; a note says how many there are among those that are used, which
    `labels_per_class` and `seed` draw. Of a source that came without its report
    it is known only whether the whole data is that which it was made from."""
    known = of_source(source)
    whole = not known and data.fingerprint == _fingerprint(source)
    train = _among(known, data.train) | whole
    test = None if data.test is None else _among(known, data.test)
    if not train.any() and (test is None or not test.any()):
        return data
    changed = replace(data, train=data.train.with_learned(train), notes=data.notes)
    used = changed.train
    if labels_per_class is not None:
        used = sample_per_class(used, labels_per_class, seed)
    notes = [*data.notes, *_notes(source, used.learned, test)]
    if data.test is not None and test is not None and test.any():
        unseen = np.flatnonzero(~test)
        left = data.test.subset(unseen) if len(unseen) else None
        changed = replace(changed, test=left, has_own_test=data.has_own_test and left is not None)
    changed = replace(changed, notes=tuple(notes))
    changed.__dict__["fingerprint"] = data.fingerprint  # of the data as it is
    return changed


def note_on(source: Source, split: Split) -> str | None:
    """What is to be said beside figures of a model on samples that it has learned, if it has."""
    count = int(_among(of_source(source), split).sum())
    if not count:
        return None
    return (
        f"'{source.name}' has learned {count} of these {len(split)} samples, or was chosen by "
        "them, so its figures here are better than on new data"
    )


def _notes(source: Source, train: np.ndarray, test: np.ndarray | None) -> list[str]:
    notes = []
    if train.all():
        notes.append(
            f"'{source.name}' has learned all {len(train)} training samples before, so their "
            "validation says nothing of new data: adapt what it was made from instead"
        )
    elif train.any():
        notes.append(
            f"'{source.name}' has learned {train.sum()} of {len(train)} training samples before: "
            "they are trained on, and figures are taken from the others"
        )
    if test is not None and test.any():
        notes.append(
            f"'{source.name}' has learned {counted(int(test.sum()), 'test sample')} of {len(test)} "
            "before: they are left out of the test part"
        )
    return notes


def _among(known: frozenset[bytes], split: Split) -> np.ndarray:
    if not known:
        return np.zeros(len(split), dtype=bool)
    return np.array([digest[:_BYTES] in known for digest in split.digests], dtype=bool)


def _fingerprint(source: Source) -> str | None:
    with suppress(ZooadaptError):
        return config_keys.nested(source.config, "zooadapt").get("data")
    return None
