"""The architecture as a test: imports run downwards, heavy modules stay out of start-up, and every
public function says what it guarantees."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "zooadapt"

LAYERS = (
    ("errors",),
    ("family", "timing", "processes", "ranges", "wording"),
    ("guard", "plugincode"),
    ("fsops",),
    ("weights",),
    ("registry",),
    ("locks", "memory"),
    ("outputs", "bag_of_words"),
    ("listings",),
    ("data", "metrics", "strategy", "history", "suspects", "chain"),
    ("hub", "cache", "ridge", "folding", "losses", "request"),
    ("resuming", "parameters"),
    (
        "feed",
        "logistic",
        "repeats",
        "checkpoint",
        "demo",
        "precision",
        "lora",
        "mixing",
        "optimizer",
        "remedies",
    ),
    ("head", "progress", "loading", "spec", "catalogue", "stored"),
    ("model", "engine", "curve", "rivals", "display"),
    ("carries", "costs", "validation", "findings", "norms", "learned", "pooling", "symbols"),
    ("auto", "averaging", "counting", "advice", "features", "inputs"),
    ("plan", "prospects", "selftraining"),
    (
        "training",
        "baselines",
        "card",
        "predictions",
        "estimate",
        "solving",
        "settling",
        "language",
    ),
    ("refitting", "concluding", "trainer", "inference"),
    ("run", "report", "unlabelled", "framing", "adapted"),
    ("export", "preparation", "use", "scaffold"),
    ("testing",),
    ("adapt", "look", "pretrain"),
    ("api",),
    ("cli",),
)
"""From the bottom up; a module imports only from layers below its own (a package is one room)."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> set[str]:
    """Rooms of zooadapt that a module imports, anywhere but under TYPE_CHECKING."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    rooms: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zooadapt"):
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("zooadapt.")}
    return {name for name in rooms if not name.startswith("__")}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    height = {name: k for k, layer in enumerate(LAYERS) for name in layer}
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    assert own in height, f"'{own}' has no layer: add it to LAYERS where it belongs"
    for other in imported(ast.parse(path.read_text())) - {own}:
        assert height[other] < height[own], f"{own} imports {other}, which is not below it"


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
    if room(path) == "cli":
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


HEAVY = ("torch", "timm", "datasets", "transformers", "sklearn", "accelerate", "pyarrow", "scipy",
         "huggingface_hub", "PIL")  # fmt: skip


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
