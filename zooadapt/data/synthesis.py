"""Random raw samples: a function of modality, number and seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from zooadapt.data import modalities
from zooadapt.family.modality import View

_PLAIN = View()


def synthesise(modality: str, n: int, seed: int = 0, *, view: View = _PLAIN) -> list[Any]:
    """`n` raw samples as the data layer gives them: `PIL.Image.Image` of several sizes, in mode `L`
    for one channel and `RGB` otherwise, `str` of several lengths, `Clip`. Equal arguments give
    equal samples."""
    rng = np.random.default_rng((seed, 0x5A))
    return [modalities.named(modality).synthesise(rng, view=view) for _ in range(n)]
