"""The types of the package and its plugins hold in the strict mode of mypy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_types_hold_in_strict_mode(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
