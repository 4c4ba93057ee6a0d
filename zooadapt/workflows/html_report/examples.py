"""What the page shows of single samples. None of it is in `report.json`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A small picture of a sample, without the metadata of its file."""

    content: bytes
    media: str
    """Its media type, such as `image/jpeg`."""
    size: tuple[int, int]
    """Width and height."""
    relevance: np.ndarray | None = None
    """`(h, w)` from 0 to 1: how much the answer rests on each cell; None if not computed."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A sample with its label and the model's answer, in words."""

    name: str
    label: str
    answer: str
    score: str
    """How sure the answer is, such as `probability 0.93`."""
    picture: Picture | None = None
    sound: bytes | None = None
    """The beginning of a recording, as MP3."""
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Samples that a reader should look at."""

    errors: tuple[Example, ...] = ()
    """Wrong answers, the most confident first."""
    right: tuple[Example, ...] = ()
    """Right answers, from the most to the least confident."""
    label_issues: tuple[Example, ...] = ()
    """Labels that are probably wrong, the most probable first."""

    @property
    def shown(self) -> bool:
        """Whether there is any."""
        return bool(self.errors or self.right or self.label_issues)
