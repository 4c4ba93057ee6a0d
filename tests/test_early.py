"""What can be refused without torch is refused before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from zooadapt.cli import main; main()"
"""The command line in a process in which importing torch fails."""


def without_torch(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Photos by class, a table, and sources that are none."""
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for k in range(3):
            image = Image.new("RGB", (20, 20), (k * 40, 0, 0))
            image.save(tmp_path / "photos" / label / f"{k}.png")
    rows = ["text,kind", "hello there,a", "something else,b", "more of it,a", "and again,b"]
    (tmp_path / "texts.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text(
        '{"architecture": "test_resnet", "num_classes": 2}'
    )
    (tmp_path / "broken/model.safetensors").write_bytes(b"<!doctype html>" * 9)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("adapt english photos -o out", 65, "no text, only 3 other files (.png). Try: convert"),
        ("adapt english photos -o out", 65, "or choose a model for such files: zooadapt models"),
        ("adapt digits04 texts.csv -o out", 65, "the model takes images"),
        ("adapt english texts.csv -o out", 65, "no column 'label', its columns are 'text', 'kind'"),
        ("adapt english nowhere.csv -o out", 66, "'nowhere.csv' is not there"),
        ("adapt nowhere texts.csv -o out", 66, "'nowhere' is neither"),
        ("adapt resnet50 photos -o out", 66, "timm/resnet50.a1_in1k or"),
        ("adapt photos photos -o out", 65, "'photos' is no model: it has no config.json"),
        ("push photos me/photos --dry-run", 65, "'photos' is no model: it has no config.json"),
        ("adapt broken photos -o out", 65, "not a safetensors file"),
        (
            "adapt english texts.csv --label-column kind --unlabelled more.txt -o out",
            66,
            "'more.txt' is not there",
        ),
        ("adapt english texts.csv -o texts.csv", 73, "output 'texts.csv' exists"),
        ("evaluate english nowhere.csv", 66, "'nowhere.csv' is not there"),
        ("evaluate english texts.csv", 65, "no column 'label'"),
        ("predict english nowhere.txt", 66, "'nowhere.txt' is not there"),
        ("evaluate digits04 texts.csv", 65, "the model takes images"),
        ("inspect nowhere", 66, "'nowhere' is neither"),
        ("inspect broken", 65, "not a safetensors file"),
        ("pretrain rnn nowhere.txt -o out", 66, "'nowhere.txt' is not there"),
    ],
)
def test_wrong_inputs_are_refused_before_torch_is_imported(
    arguments: str, code: int, words: str, place: Path
) -> None:
    before = sorted(place.rglob("*"))
    done = without_torch(*arguments.split(), "--json", cwd=place)
    (line,) = done.stderr.splitlines()
    assert words in line and done.returncode == code
    assert json.loads(done.stdout)["code"] == code
    assert sorted(place.rglob("*")) == before


def test_right_inputs_import_torch(place: Path) -> None:
    """So that the cases above are refused for what they are about."""
    done = without_torch(
        *"adapt english texts.csv --label-column kind -o out".split(), "--json", cwd=place
    )
    assert done.returncode == 1 and "import of torch halted" in done.stderr
