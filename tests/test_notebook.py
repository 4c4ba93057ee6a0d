"""The notebook of the pages runs as a newcomer runs it: in a fresh kernel, offline, from top to
bottom; and what it shows and saves is right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from PIL import Image
from sklearn.datasets import load_digits

import zooadapt

NOTEBOOK = Path(zooadapt.__file__).parent / "docs" / "quickstart.ipynb"
OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"the notebook opens a connection: {arguments}")

sys.addaudithook(refuse)
"""
FACTS = """
import json

truth = [model.classes.index(label) for label in test[1]]
predicted = [dict(one.probabilities) for one in model.predict(test[0])]
print(json.dumps({"metrics": metrics, "truth": truth, "predicted": predicted}))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the kernel runs."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(place: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, between a cell that refuses connections and one that prints
    what the notebook computed. A cell that fails raises here."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [new_code_cell(OFFLINE), *notebook.cells, new_code_cell(FACTS)]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(place / "ipython"))
        return client.execute()


@pytest.fixture(scope="module")
def facts(executed: nbformat.NotebookNode) -> dict[str, Any]:
    return json.loads("".join(one.text for one in executed.cells[-1].outputs if "text" in one))


def shown(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    """What the notebook's own cells show in a MIME type."""
    outputs = [one for cell in notebook.cells[1:-1] for one in cell.get("outputs", ())]
    return [one.data[kind] for one in outputs if kind in one.get("data", {})]


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_every_cell_runs(executed: nbformat.NotebookNode) -> None:
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [one for cell in code for one in cell.outputs if one.output_type == "error"]


def test_progress_leaves_no_warning_and_no_empty_line(executed: nbformat.NotebookNode) -> None:
    lines = shown(executed, "text/plain")
    assert "plan: probe = fit the head on frozen features\n" in lines
    assert not [line for line in lines if not line.strip() or "Warning" in line]


def test_the_confusion_matrix_adds_up(facts: dict[str, Any]) -> None:
    metrics, truth = facts["metrics"], np.array(facts["truth"])
    predicted = [metrics["classes"].index(max(one, key=one.get)) for one in facts["predicted"]]
    matrix = np.zeros((5, 5), dtype=int)
    np.add.at(matrix, (truth, predicted), 1)
    assert metrics["confusion"] == matrix.tolist()
    assert metrics["n"] == matrix.sum() == sum(load_digits().target >= 5) - 50
    assert metrics["accuracy"] == pytest.approx(matrix.trace() / matrix.sum())
    assert metrics["accuracy"] > 0.7


def test_the_confusion_matrix_is_shown(
    executed: nbformat.NotebookNode, facts: dict[str, Any]
) -> None:
    (page,) = (html for html in shown(executed, "text/html") if "<td" in html)
    (table,) = re.findall(r'<table class="matrix">.*?</table>', page, re.DOTALL)
    rows = [re.findall(r"<td[^>]*>(\d+)</td>", row) for row in table.split("<tr>")[2:]]
    assert [[int(count) for count in row] for row in rows] == facts["metrics"]["confusion"]


def test_the_saved_model_loads_with_equal_predictions(
    executed: nbformat.NotebookNode, facts: dict[str, Any], place: Path
) -> None:
    assert shown(executed, "text/plain")[-1] == "True", "the last cell compares the predictions"
    model = zooadapt.load(place / "digits-model")
    answers = model.predict(images_of_the_test_set())
    assert len(answers) == len(facts["predicted"])
    for answer, probabilities in zip(answers, facts["predicted"], strict=True):
        assert answer.label == max(probabilities, key=probabilities.get)
        assert answer.probabilities == pytest.approx(probabilities, abs=1e-5)


def images_of_the_test_set() -> list[Image.Image]:
    """Images of the digits 5 to 9, without the first ten of each."""
    digits = load_digits()
    indices = sorted(k for d in range(5, 10) for k in np.flatnonzero(digits.target == d)[10:])
    return [Image.fromarray((digits.images[k] * (255 / 16)).astype(np.uint8)) for k in indices]
