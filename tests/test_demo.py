"""The demo as a newcomer meets it: one screen, plain words, and a next command that works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where the demo ran, and every line that it printed, on stderr first."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "zooadapt", "demo", "-o", "digits"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return folder, (done.stderr + done.stdout).splitlines()


def test_the_demo_fits_a_small_screen(printed: tuple[Path, list[str]]) -> None:
    folder, lines = printed
    program = max(lines[-2].find(" predict"), 0)  # its path is what it is
    assert len(lines) <= 20
    assert [line for line in lines[:-2] if len(line) > 60] == []
    assert program and len(lines[-1]) <= 60
    reports = (json.loads((folder / f"digits/{name}/report.json").read_text())
               for name in ("adapted", "from-scratch"))  # fmt: skip
    learned, untrained = (round(100 * report["test"]["accuracy"]) for report in reports)
    assert learned > untrained + 10
    text = " ".join(" ".join(lines).split())
    assert (
        f"right about {learned} of 100 others, the same network untrained about {untrained}."
        in text
    )


def test_the_demo_shows_pictures_with_their_answers(printed: tuple[Path, list[str]]) -> None:
    _, lines = printed
    answers = next(k for k, line in enumerate(lines) if line.strip().startswith("says"))
    assert re.fullmatch(r"says [5-9]( +says [5-9]){4}", lines[answers].strip())
    pictures = lines[answers - 4 : answers]
    assert all(set(line) <= set(" ▀▄█") and line.strip() for line in pictures)


def test_parts_of_the_demo_s_time_add_up(printed: tuple[Path, list[str]]) -> None:
    (seconds,) = re.findall(
        r"^([\d.]+ s: .*?)^Next", "\n".join(printed[1]), re.DOTALL | re.MULTILINE
    )
    whole, *parts = map(float, re.findall(r"\d+\.\d", seconds))
    assert len(parts) >= 4 and whole == pytest.approx(sum(parts), abs=0.06 * len(parts))


def test_the_demo_s_next_command_works_as_it_is_printed(printed: tuple[Path, list[str]]) -> None:
    folder, lines = printed
    words = shlex.split("\n".join(lines[-2:]).replace("\\\n", ""))
    assert words[-3:] == ["predict", "digits/adapted", "digits/data/target/test/7"]
    if Path(words[0]).name == "zooadapt":
        assert words[0] == "zooadapt" or (folder / words[0]).exists()
        words[:1] = [sys.executable, "-m", "zooadapt"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    labels = [line.split("\t")[1] for line in done.stdout.splitlines()]
    assert labels.count("7") > 0.7 * len(labels) > 100
