"""The architecture as a test: imports run downwards, heavy modules stay out of start-up, and every
public function says what it guarantees."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "zooadapt"

ROOMS = (
    "cli",
    "api",
    "testing",
    "workflows",
    "training",
    "heads",
    "backbone",
    "data",
    "zoo",
    "tasks",
    "runtime",
    "family",
    "errors",
)
"""From the top down; a room imports only from rooms further down, and `data` and `zoo` not from
each other. Imports for types alone count, too."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = ("zooadapt", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def room(name: str) -> str:
    """Of a module `zooadapt.ROOM.…`; the package itself stands above all rooms."""
    return name.split(".")[1] if "." in name else ""


GRAPH: dict[str, set[str]] = {dotted(path): set() for path in modules()}
"""The modules that each module imports, anywhere in it."""
for each in modules():
    for node in ast.walk(ast.parse(each.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zooadapt"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = names & GRAPH.keys()
            here = {node.module} if names - inner else set()
            GRAPH[dotted(each)] |= inner | here
        elif isinstance(node, ast.Import):
            GRAPH[dotted(each)] |= {a.name for a in node.names if a.name in GRAPH}


def test_the_package_has_the_rooms_and_nothing_else() -> None:
    entries = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.name != "__pycache__"}
    assert entries - {"__init__", "__main__", "py.typed", "docs"} == set(ROOMS)
    assert len(ROOMS) <= 13


@pytest.mark.parametrize("name", GRAPH)
def test_imports_run_downwards(name: str) -> None:
    for other in GRAPH[name]:
        one, below = room(name), room(other)
        if one in ("", "__main__") or one == below:
            continue
        assert ROOMS.index(one) < ROOMS.index(below), f"{name} imports {other} above it"
        assert (one, below) != ("data", "zoo"), f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError with the modules of a circle


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_can_be_taken_in_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_functions_say_what_they_guarantee(path: Path) -> None:
    """Every module has a docstring; every public function and class of the library too, unless it
    implements a documented method of a base class."""
    tree = ast.parse(path.read_text())
    if path.name != "__main__.py":
        assert ast.get_docstring(tree), "the module has no docstring"
    if room(dotted(path)) == "cli":
        return
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            doc = ast.get_docstring(node) or ""
            if any(isinstance(inner, ast.Raise) and inner.exc for inner in ast.walk(node)):
                assert "Raises:" in doc, f"{node.name} raises and does not say what"


def test_what_commands_print_goes_through_one_place() -> None:
    """Where it is made sure that names out of files and downloads move no cursor."""
    for path in (PACKAGE / "cli").glob("*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        assert path.name in ("__init__.py", "output.py") or not names & {"print", "click.echo"}


HEAVY = ("torch", "numpy", "timm", "datasets", "transformers", "sklearn", "accelerate", "pyarrow",
         "scipy", "huggingface_hub", "PIL")  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [["--help"], ["adapt", "--help"], ["adapt"], ["plugins", "list"], ["--version"]]
)
def test_start_up_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "zooadapt", *arguments],
        capture_output=True,
        text=True,
    )
    names = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "click" in names
    assert not names & set(HEAVY)
