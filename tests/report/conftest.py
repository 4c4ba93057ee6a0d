"""A report as a run writes it, and samples with every kind of content."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.html_report import Example, Examples, Picture


@pytest.fixture(scope="session")
def export(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a run that trains, on pictures of which some labels are wrong."""
    data = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        label = path.parent.name
        if number % 4 == 1 and label != "class2":
            label = "class2"
        (data / label).mkdir(exist_ok=True)
        pixels = np.asarray(Image.open(path)).astype(float)
        for copy in range(2):
            noisy = (pixels + rng.normal(0, 40 * copy, pixels.shape)).clip(0, 255)
            name = data / label / f"{path.parent.name}-{copy}-{path.name}"
            Image.fromarray(noisy.astype(np.uint8)).save(name)
    out = tmp_path_factory.mktemp("page") / "model"
    request = Request(source="digits04", data=str(data), out=out, strategy="lp-ft", epochs=3)
    adapt(request, Progress())
    return out


@pytest.fixture(scope="session")
def report(export: Path) -> dict[str, Any]:
    return json.loads((export / "report.json").read_bytes())


@pytest.fixture(scope="session")
def examples() -> Examples:
    """A picture with relevant places, one without, and a text."""
    file = io.BytesIO()
    Image.new("RGB", (80, 60), (200, 30, 30)).save(file, "PNG")
    cells = np.zeros((4, 4))
    cells[0, 3] = 1.0
    picture = Picture(content=file.getvalue(), media="image/png", size=(80, 60), relevance=cells)
    plain = Picture(content=file.getvalue(), media="image/png", size=(80, 60))
    common = {"name": "test/a/1.png", "label": "a", "answer": "b", "score": "probability 0.93"}
    text = Example(**common, text="some words")
    return Examples(
        errors=(Example(**common, picture=picture), text),
        right=(Example(**common, picture=plain),),
        label_issues=(Example(**common),),
    )
