"""Checks of the modality whose raw samples a family takes."""

from __future__ import annotations

import io

from zooadapt.data import modalities
from zooadapt.data.synthesis import synthesise
from zooadapt.errors import DataError
from zooadapt.family.modality import Limits
from zooadapt.testing.case import Case
from zooadapt.testing.clauses import clause, refuse, require

_JUNK = (b"\0", b"\xff" * 64, b"RIFF\x24\0\0\0WAVE", bytes(range(256)) * 8)
"""What no text of numbers, no image and no sound is."""
_NAME = "some/file"


@clause
def check_raw_samples_are_a_function_of_the_seed(case: Case) -> None:
    """The modality synthesises equal samples for equal seeds and others for another seed; equal
    samples, and no others, have equal `pieces`; a sample takes `memory`."""
    modality, name = modalities.named(case.family.modality), case.family.modality
    first, again, other = (
        [list(modality.pieces(raw)) for raw in synthesise(name, 4, seed, view=case.model.view)]
        for seed in (1, 1, 2)
    )
    require(
        first == again,
        declared="synthesise(rng) is a function of rng",
        actual="other samples for an equal rng",
        remedy="draw from the given rng alone",
    )
    distinct = {b"\0".join(pieces) for pieces in (*first, *other)}
    require(
        len(distinct) == 8 and all(isinstance(p, bytes) for pieces in first for p in pieces),
        declared="8 samples of two seeds have 8 different pieces, of bytes",
        actual=f"{len(distinct)} different ones",
        remedy="let `pieces` give all that a sample consists of, its shape too",
    )
    sizes = [modality.memory(raw) for raw in case.raws()]
    require(
        all(isinstance(size, int) and size > 0 for size in sizes),
        declared="memory(raw) is a number of bytes",
        actual=sizes,
        remedy="leave `memory` out, or count the bytes of the arrays",
    )


@clause
def check_broken_content_is_a_data_error(case: Case) -> None:
    """Content that is no sample makes `decode` raise a DataError that names the file and has a
    remedy, and never another error; what `decode` accepts has `pieces`."""
    modality = modalities.named(case.family.modality)
    modality = modality.plugin or modality
    refused = 0
    for junk in _JUNK:
        try:
            raw = modality.decode(
                io.BytesIO(junk), name=_NAME, view=case.model.view, limits=Limits()
            )
            list(modality.pieces(raw))
        except DataError as error:
            refused += 1
            require(
                _NAME in str(error) and bool(error.thing and error.remedy),
                declared=f"an error that names '{_NAME}', with a thing and a remedy",
                actual=f"{error} (thing '{error.thing}', remedy '{error.remedy}')",
                remedy="raise DataError(f\"... '{name}' ...\", thing=name, remedy=...)",
            )
        except Exception as error:
            refuse(
                declared=f"a DataError for the content {junk[:12]!r}",
                actual=f"{type(error).__name__}: {error}",
                remedy="catch what the decoder raises, and raise a DataError that names the file",
            )
    require(
        refused > 0,
        declared="a DataError for bytes of every value",
        actual="decode accepts them",
        remedy="check what is decoded",
    )
