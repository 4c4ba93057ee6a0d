"""The page as HTML. Every name and text of it is a stranger's: the templates escape them, and
characters that are invisible or change the direction of text are written as their code."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.errors import DataError
from zooadapt.runtime.wording import counted, printable
from zooadapt.workflows.html_report.examples import Examples, Picture
from zooadapt.workflows.html_report.sections import SECTIONS, headline

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "report.html"
_LONGEST = 60
_FINER = 4
_VEIL = 160
"""Opacity, of 255, over the places of no relevance."""


def page(report: Mapping[str, Any], examples: Examples | None = None) -> bytes:
    """The whole page of what `report.json` holds, and of samples that are to be seen. Equal reports
    and samples give equal bytes.

    Raises: DataError for a report that `adapt` did not write.
    """
    return _rendered("page.html", report, examples or Examples()).encode()


def fragment(report: Mapping[str, Any]) -> str:
    """The same figures for a cell of a notebook.

    Raises: as `page`.
    """
    return _rendered("report.html", report, Examples())


def _rendered(template: str, report: Mapping[str, Any], examples: Examples) -> str:
    from jinja2 import UndefinedError

    load, shown = _environment().get_template, []
    try:
        for section in SECTIONS:
            values = section.values(report, examples)
            if values is not None:
                shown.append((section, load(f"{section.name}.html").render(values)))
        return load(template).render(headline=headline(report), sections=shown)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
            UndefinedError) as error:  # fmt: skip
        raise DataError(
            f"the report is not one that this version of zooadapt writes: {error!r}",
            thing="report.json",
            remedy="adapt the model again",
        ) from error


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: Any) -> Any:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return printable(value) if plain else value

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"counted": counted}
    environment.filters |= {
        "short": _short,
        "figure": lambda value: "–" if value is None else f"{value:.3f}",
        "count": lambda value: f"{value:,}",
        "plain": lambda value: f"{value:g}",
        "percent": lambda value: f"{100 * value:.1f}",
        "p": lambda value: f"p {value:.2g}" if value >= 1e-4 else "p below 0.0001",
        "url": _url,
        "heat": _heat,
        "whereabouts": _whereabouts,
        "markup": Markup,
    }
    return environment


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _url(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def _heat(picture: Picture) -> str:
    """A veil over the other places of the sample's picture, some pixels for each cell."""
    from PIL import Image

    assert picture.relevance is not None
    pixels = np.zeros((*picture.relevance.shape, 4), dtype=np.uint8)
    pixels[..., 3] = np.rint((1 - picture.relevance) * _VEIL)
    file = io.BytesIO()
    size = (pixels.shape[1] * _FINER, pixels.shape[0] * _FINER)
    veil = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    veil.save(file, "PNG", optimize=True)
    return _url(file.getvalue(), "image/png")


def _whereabouts(relevance: np.ndarray) -> str:
    """In words, where in a picture the relevant places have their centre."""
    if relevance.max() <= 0:
        return "nowhere in particular"
    down, across = (
        float((relevance.sum(1 - axis) * (np.arange(size) + 0.5)).sum() / relevance.sum() / size)
        for axis, size in enumerate(relevance.shape)
    )
    rows = "top" if down < 0.4 else "bottom" if down > 0.6 else ""
    columns = "left" if across < 0.4 else "right" if across > 0.6 else ""
    return " ".join(filter(None, (rows, columns))) or "centre"
